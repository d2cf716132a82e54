//! Names of subprotocols that may be shown. Clients put secrets into `Sec-WebSocket-Protocol`, so
//! everything that is not in this list is called `other`.

/// Tokens of the IANA registry and of widespread servers.
const KNOWN: &[&str] = &[
    "actioncable-unsupported",
    "actioncable-v1-json",
    "AMQPWSB10",
    "amqp",
    "base64.channel.k8s.io",
    "bfcp",
    "binary",
    "channel.k8s.io",
    "centrifuge-json",
    "centrifuge-protobuf",
    "coap",
    "graphql-transport-ws",
    "graphql-ws",
    "grpc-websockets",
    "janus-protocol",
    "json",
    "json.webpubsub.azure.v1",
    "jsonrpc",
    "mqtt",
    "mqttv3.1",
    "msrp",
    "nats",
    "obswebsocket.json",
    "obswebsocket.msgpack",
    "ocpp1.2",
    "ocpp1.5",
    "ocpp1.6",
    "ocpp2.0",
    "ocpp2.0.1",
    "ocpp2.1",
    "protobuf.webpubsub.azure.v1",
    "realtime",
    "sip",
    "soap",
    "stomp",
    "v10.stomp",
    "v11.stomp",
    "v12.stomp",
    "v1.kernel.websocket.jupyter.org",
    "v4.channel.k8s.io",
    "v5.channel.k8s.io",
    "wamp",
    "wamp.2.cbor",
    "wamp.2.cbor.batched",
    "wamp.2.json",
    "wamp.2.json.batched",
    "wamp.2.msgpack",
    "wamp.2.msgpack.batched",
    "webrtc.softwarefoundation.org",
    "xmpp",
];

/// The name under which an accepted subprotocol may be shown.
pub(in crate::decode) fn label(token: &str) -> &'static str {
    KNOWN.iter().find(|known| known.eq_ignore_ascii_case(token)).copied().unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::label;

    #[test]
    fn an_unknown_token_is_never_shown() {
        assert_eq!(label("ocpp1.6"), "ocpp1.6");
        assert_eq!(label("MQTT"), "mqtt");
        assert_eq!(label("openai-insecure-api-key.sk-1234"), "other");
    }
}
