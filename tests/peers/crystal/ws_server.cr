# A wss JSON-RPC server over Crystal's own HTTP server that keeps its own log of what it saw.
#
# Each connection is served by a fiber, and the BIO beneath OpenSSL switches to another fiber while
# a read waits: stacks are switched inside SSL_read. Prints its port, serves until standard input
# ends, then prints a summary as JSON. Log and measurements as in ws_server.py.

require "base64"
require "http/server"
require "json"
require "option_parser"

certificate = key = log_path = ""
OptionParser.parse do |options|
  options.on("--certificate FILE", "") { |file| certificate = file }
  options.on("--key FILE", "") { |file| key = file }
  options.on("--log FILE", "") { |file| log_path = file }
end

log = File.open(log_path, "w")
connections = 0
requests = 0
service_ns = [] of Int64

# Fibers share one thread, so no lock is needed.
record = ->(connection : Int32, direction : String, message : String) do
  log << connection << ' ' << direction << " text " << Base64.strict_encode(message) << '\n'
end

serve = HTTP::WebSocketHandler.new do |socket, _|
  connections += 1
  connection = connections
  socket.on_message do |message|
    began = Time.monotonic
    record.call(connection, "received", message)
    request = JSON.parse(message)
    next unless id = request["id"]?
    parameters = request["params"]?
    pause = parameters.try &.["pause"]?
    sleep(pause.as_f? || pause.as_i.to_f) if pause
    reply = {"jsonrpc" => JSON::Any.new("2.0"), "id" => id}
    reply["result"] = parameters.try(&.["echo"]?) || JSON::Any.new(nil)
    answer = reply.to_json
    socket.send(answer)
    service_ns << (Time.monotonic - began).total_nanoseconds.to_i64
    requests += 1
    record.call(connection, "sent", answer)
  end
end

context = OpenSSL::SSL::Context::Server.new
context.certificate_chain = certificate
context.private_key = key
server = HTTP::Server.new([serve])
address = server.bind_tls("127.0.0.1", 0, context)
spawn { server.listen }
puts address.port
STDOUT.flush

STDIN.gets_to_end
log.close
sorted = service_ns.sort
median = sorted.empty? ? 0_i64 : sorted[sorted.size // 2]
puts({"requests" => requests, "median_ns" => median}.to_json)
