# The program's end of the conversation that `driver/client.py` describes, for peers with clients in Ruby.

require "json"

CALLERS = 64
BULK = 1_000
PAYLOAD = { "body" => "x" * 189 }.freeze
# The last of a wait is spent awake: a sleeping thread comes late.
AWAKE_NS = 120_000

def now_ns
  Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
end

# What was handed in, or what has started: ids with moments.
class Notes
  def initialize(sign)
    @sign = sign
    @lines = []
  end

  # Appending to an array is one step under the interpreter's lock.
  def add(id, moment)
    @lines << [id, moment]
  end

  def count
    @lines.size
  end

  def dump(file)
    File.write(file, @lines.map { |id, moment| "#{@sign} #{id} #{moment}\n" }.join)
    @lines = []
    {}
  end
end

# Says that it is ready, then does what it is told until its input ends.
def serve(commands, out)
  out.puts("{}")
  out.flush
  $stdin.each_line do |line|
    order = JSON.parse(line)
    begin
      answer = commands.fetch(order.delete("do")).call(order)
    rescue StandardError => e
      answer = { error: "#{e.class}: #{e.message}" }
    end
    out.puts(JSON.generate(answer))
    out.flush
  end
end
