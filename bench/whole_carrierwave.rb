# CarrierWave's side of bench/whole.py: the model, the uploader and the job. bench/whole_carrierwave.ru
# is the web application.
#
# Gems that Debian has: carrierwave, mini_magick, sidekiq, activerecord, sqlite3. It has no
# carrierwave_backgrounder, so `StoreAsset` and the model's methods do what that gem's
# `store_in_background` and `Delay` do: a request only caches the file and notes where; the job
# makes the versions and stores everything.
require "active_record"
require "carrierwave"
require "carrierwave/orm/activerecord"
require "sidekiq"

Sidekiq.configure_client { |config| config.redis = { url: ENV["BENCH_URL"] } }
Sidekiq.configure_server { |config| config.redis = { url: ENV["BENCH_URL"] } }

FOLDER = ENV.fetch("BENCH_FOLDER")
ActiveRecord::Base.establish_connection(
  adapter: "sqlite3", database: "#{FOLDER}/bench.db", timeout: 10_000, pool: 20
)
ActiveRecord::Base.connection.execute("PRAGMA journal_mode = WAL")
unless ActiveRecord::Base.connection.table_exists?(:gifs)
  ActiveRecord::Base.connection.create_table(:gifs) do |table|
    table.string :image
    table.string :image_tmp
    table.boolean :image_processing, null: false, default: false
    table.timestamps
  end
end

class ImageUploader < CarrierWave::Uploader::Base
  include CarrierWave::MiniMagick
  storage :file

  def root = FOLDER
  def store_dir = "store/#{model.id}"
  def cache_dir = "cache"

  version(:thumb) { process resize_to_limit: [220, 220] }
  version(:preview) { process resize_to_limit: [480, 480] }

  # carrierwave_backgrounder's `Delay`
  def cache_versions!(*) = model.process_image_upload && super
  def store_versions!(*) = model.process_image_upload && super
  def process!(*) = model.process_image_upload && super
end

class StoreAsset
  include Sidekiq::Worker
  sidekiq_options queue: "carrierwave"

  def perform(id)
    gif = Gif.find(id)
    return unless gif.image_tmp

    gif.process_image_upload = true
    gif.image_cache = gif.image_tmp
    gif.image.cache!
    gif.image.store!
    gif.image_tmp = nil
    gif.image_processing = false
    gif.save!
  end
end

class Gif < ActiveRecord::Base
  mount_uploader :image, ImageUploader
  attr_accessor :process_image_upload

  # carrierwave_backgrounder's `store_in_background :image`
  before_save(if: :to_be_stored?) { self.image_processing = true }
  after_commit(if: :to_be_stored?) { StoreAsset.perform_async(id) }
  prepend(Module.new do
    def write_image_identifier
      return super if process_image_upload

      self.image_tmp = image_cache if image_cache
    end

    def store_image!
      super if process_image_upload
    end
  end)

  def to_be_stored? = !process_image_upload && image.file.present?
end
