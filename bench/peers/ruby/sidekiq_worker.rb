# Sidekiq's end that runs jobs, as its own program requires it: `sidekiq -r sidekiq_worker.rb`, with PORT in REDIS_PORT.

require "sidekiq"
require "sidekiq/fetch"
require_relative "protocol"

# With Debian's version of its Redis client it would be warned of its own calls at every job.
Redis.silence_deprecations = true

# The conversation keeps the standard output, whatever Sidekiq says there.
OUT = $stdout.dup
$stdout.reopen($stderr)
STARTED = Notes.new("-")

class NoOp
  include Sidekiq::Worker

  def perform(_payload)
    STARTED.add(jid, now_ns)
  end
end

# Sidekiq's own fetch, from the queue that it was told last, and only while it was told to work.
class GatedFetch < Sidekiq::BasicFetch
  class << self
    attr_accessor :queue
  end

  def retrieve_work
    return super if self.class.queue

    sleep(0.005)
    nil
  end

  def queues_cmd
    ["queue:#{self.class.queue || 'none'}", TIMEOUT]
  end
end

def work(order)
  GatedFetch.queue = order["queue"]
  {}
end

# Those that wait for a job in Redis are woken, so that they do not take the first ones of the next run.
def rest
  GatedFetch.queue = nil
  Sidekiq.redis do |redis|
    redis.call("CLIENT", "LIST").scan(/id=(\d+) .*cmd=brpop/) { |(id)| redis.call("CLIENT", "UNBLOCK", id) }
  end
  {}
end

Sidekiq.configure_server do |config|
  config.redis = { url: "redis://127.0.0.1:#{ENV.fetch('REDIS_PORT')}/0" }
  config.options[:fetch] = GatedFetch.new(config.options)
  # The documentation's advice for production; at the default every job is two lines of log.
  config.logger.level = Logger::WARN
  commands = {
    "work" => method(:work),
    "rest" => ->(_) { rest },
    "count" => ->(_) { { started: STARTED.count } },
    "dump" => ->(order) { STARTED.dump(order["file"]) }
  }
  config.on(:startup) { Thread.new { serve(commands, OUT) } }
end
