# The least web application for CarrierWave's side of bench/whole.py: POST /gifs takes an image.
require_relative "whole_carrierwave"

run(lambda do |environment|
  request = Rack::Request.new(environment)
  next [200, {}, ["ready"]] unless request.post?

  upload = request.params["image"]
  # Like Rails' ActionDispatch::Http::UploadedFile: CarrierWave asks the file for its name.
  file = CarrierWave::SanitizedFile.new(
    tempfile: upload[:tempfile], filename: upload[:filename], content_type: upload[:type]
  )
  gif = ActiveRecord::Base.connection_pool.with_connection { Gif.create!(image: file) }
  [202, { "Content-Type" => "application/json" }, [%({"id": "#{gif.id}"})]]
end)
