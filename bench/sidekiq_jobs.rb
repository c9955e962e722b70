# Sidekiq's side of bench/queues.py: the jobs; and, run by itself, the enqueuing side, which obeys
# lines as bench/queue_client.py does.
require "sidekiq"

# Sidekiq 6.4 does what redis-rb 4.8 warns of at each enqueue.
Redis.silence_deprecations = true

Sidekiq.configure_client { |config| config.redis = { url: ENV["BENCH_URL"] } }
Sidekiq.configure_server do |config|
  config.redis = { url: ENV["BENCH_URL"] }
  config.logger.level = Logger::WARN if ENV["BENCH_BARE"]
end

class NoOp
  include Sidekiq::Worker
  def perform; end
end

class TellWhen
  include Sidekiq::Worker
  def perform
    Sidekiq.redis { |redis| redis.rpush("when", Process.clock_gettime(Process::CLOCK_REALTIME).to_s) }
  end
end

class Note
  include Sidekiq::Worker
  def perform(queue)
    Sidekiq.redis { |redis| redis.rpush("started", queue) }
    sleep 0.002
  end
end

class Hold
  include Sidekiq::Worker
  def perform
    Sidekiq.redis { |redis| redis.rpush("held", Process.pid.to_s) }
    sleep 600
  end
end

def obey(name, *arguments)
  case name
  when "one" then arguments[0].to_i.times { NoOp.perform_async }
  when "many" then (arguments[0].to_i / 500).times { Sidekiq::Client.push_bulk("class" => NoOp, "args" => [[]] * 500) }
  when "when" then TellWhen.perform_async
  when "hold" then Hold.perform_async
  when "note" then arguments[1].to_i.times { Note.set(queue: arguments[0]).perform_async(arguments[0]) }
  end
end

if $0 == __FILE__
  $stdout.sync = true
  puts "ready"
  while (line = $stdin.gets)
    began, moment = Process.clock_gettime(Process::CLOCK_MONOTONIC), Process.clock_gettime(Process::CLOCK_REALTIME)
    obey(*line.split)
    puts line.start_with?("when") ? moment : Process.clock_gettime(Process::CLOCK_MONOTONIC) - began
  end
end
