# Sidekiq's end that hands in: `ruby sidekiq_client.rb PORT`.

require "sidekiq"
require_relative "protocol"

# With Debian's version of its Redis client it would be warned of its own calls at every job.
Redis.silence_deprecations = true

# A connection for each caller.
Sidekiq.configure_client { |config| config.redis = { url: "redis://127.0.0.1:#{ARGV[0]}/0", size: CALLERS } }
NOTES = Notes.new("+")

def push(queue)
  Sidekiq::Client.push("class" => "NoOp", "queue" => queue, "args" => [PAYLOAD])
end

def push_bulk(queue)
  Sidekiq::Client.push_bulk("class" => "NoOp", "queue" => queue, "args" => Array.new(BULK) { [PAYLOAD] })
end

def by_callers(callers, jobs, queue)
  threads = Array.new(callers) do
    Thread.new { (jobs / callers).times { NOTES.add(push(queue), 0) } }
  end
  threads.each(&:join)
end

def enqueue(order)
  jobs, queue = order.values_at("jobs", "queue")
  began = now_ns
  case order["way"]
  when "one" then jobs.times { NOTES.add(push(queue), 0) }
  when "callers" then by_callers(CALLERS, jobs, queue)
  else (jobs / BULK).times { push_bulk(queue).each { |id| NOTES.add(id, 0) } }
  end
  { began: began, ended: now_ns }
end

# Each at its time. One caller: it takes less than the pause between two.
def pace(order)
  began = now_ns
  order["jobs"].times do |n|
    due = began + (n + 1) * order["every_ns"]
    wait = due - now_ns - AWAKE_NS
    sleep(wait / 1e9) if wait.positive?
    nil while now_ns < due
    NOTES.add(push(order["queue"]), due)
  end
  { began: began, ended: now_ns }
end

dump = ->(order) { NOTES.dump(order["file"]) }
serve({ "enqueue" => method(:enqueue), "pace" => method(:pace), "dump" => dump }, $stdout)
