# Sidekiq's side of bench/queues.py: the jobs; and, run by itself, how fast it enqueues.
require "sidekiq"

Sidekiq.configure_client { |config| config.redis = { url: ENV["BENCH_URL"] } }
Sidekiq.configure_server do |config|
  config.redis = { url: ENV["BENCH_URL"] }
  config.logger.level = Logger::WARN
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

if ARGV[0] == "enqueue"
  100.times { NoOp.perform_async }
  count = ARGV[1].to_i
  started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  count.times { NoOp.perform_async }
  puts count / (Process.clock_gettime(Process::CLOCK_MONOTONIC) - started)
  started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  (count / 500).times { Sidekiq::Client.push_bulk("class" => NoOp, "args" => [[]] * 500) }
  puts count / (Process.clock_gettime(Process::CLOCK_MONOTONIC) - started)
end
