'use strict';

const { WebSocket } = require('ws');
const {
  AddTrackRequest, JoinResponse, Ping, Pong, RequestResponse, RequestResponse_Reason: Reason,
  SessionDescription, SignalRequest, SignalResponse, TrackInfo, TrackPublishedResponse, TrickleRequest,
  UpdateParticipantMetadata,
} = require('@livekit/protocol');
const { delay, listener } = require('../support/socket');

// Each message has one field.
const ask = (name, value) => new SignalRequest({ message: { case: name, value } }).toBinary();
const answer = (name, value) => new SignalResponse({ message: { case: name, value } });
const responded = (fields) => answer('requestResponse', new RequestResponse(fields));

// A track of this name is refused, one of another is first queued.
const REFUSED = 'refused';

async function* addTrack(addTrack) {
  const request = { case: 'addTrack', value: addTrack };
  if (addTrack.name === REFUSED) {
    yield responded({ reason: Reason.LIMIT_EXCEEDED, message: 'as asked', request });
    return;
  }
  yield responded({ reason: Reason.QUEUED, request });
  const track = new TrackInfo({ sid: 'TR_1', name: addTrack.name });
  yield answer('trackPublished', new TrackPublishedResponse({ cid: addTrack.cid, track }));
}

async function* updateMetadata({ requestId, name }) {
  if (name === REFUSED) {
    yield responded({ requestId, reason: Reason.NOT_ALLOWED, message: 'as asked' });
    return;
  }
  await delay();
  yield responded({ requestId, reason: Reason.OK });
}

const ANSWERS = {
  addTrack,
  updateMetadata,
  async* ping() { yield answer('pong', BigInt(Date.now())); },
  async* pingReq({ timestamp }) {
    yield answer('pongResp', new Pong({ lastPingTimestamp: timestamp, timestamp: BigInt(Date.now()) }));
  },
  async* offer({ id }) { yield answer('answer', new SessionDescription({ type: 'answer', sdp: 'v=0', id })); },
  async* trickle() {},
};

function accept(socket) {
  socket.send(answer('join', new JoinResponse({ serverVersion: '1.9.0', pingInterval: 5, pingTimeout: 15 })).toBinary());
  socket.on('message', async (data) => {
    const { case: name, value } = SignalRequest.fromBinary(data).message;
    for await (const response of ANSWERS[name](value)) socket.send(response.toBinary());
  });
}

// Whether a response is the last to a request, and how it ended: the key of the request and the outcome.
function outcome({ case: name, value }) {
  if (name === 'pongResp') return [`ping ${value.lastPingTimestamp}`, true];
  if (name === 'trackPublished') return [`track ${value.cid}`, true];
  if (name !== 'requestResponse' || value.reason === Reason.QUEUED) return [];
  const key = value.requestId === 0 ? `track ${value.request.value.cid}` : `request ${value.requestId}`;
  return [key, value.reason === Reason.OK];
}

class Signalling {
  #socket;

  #waiting = new Map();

  #requests = 0;

  constructor(url) {
    this.#socket = new WebSocket(url);
    this.#socket.on('message', (data) => {
      const [key, isRight] = outcome(SignalResponse.fromBinary(data).message);
      this.#waiting.get(key)?.[isRight ? 'resolve' : 'reject'](new Error(key));
      this.#waiting.delete(key);
    });
  }

  opened() { return new Promise((resolve) => { this.#socket.on('open', resolve); }); }

  tell(name, value) { this.#socket.send(ask(name, value)); }

  #answered(key) { return new Promise((resolve, reject) => { this.#waiting.set(key, { resolve, reject }); }); }

  ask(name, key, value) {
    const answered = this.#answered(key);
    this.tell(name, value);
    return answered;
  }

  ping() {
    const timestamp = BigInt(Date.now());
    return this.ask('pingReq', `ping ${timestamp}`, new Ping({ timestamp, rtt: 1n }));
  }

  addTrack(cid, name) {
    return this.ask('addTrack', `track ${cid}`, new AddTrackRequest({ cid, name }));
  }

  updateMetadata(name) {
    const requestId = ++this.#requests;
    const request = new UpdateParticipantMetadata({ metadata: '{}', name, requestId });
    return this.ask('updateMetadata', `request ${requestId}`, request);
  }

  close() { this.#socket.close(); }
}

module.exports = {
  protocol: 'livekit',
  client: '@livekit/protocol',
  server: null,
  echo: ['update_metadata', 'matched'],
  other: ['add_track', 'error'],

  serve: () => listener(undefined, accept),

  async connect(url, tally) {
    const signalling = new Signalling(url);
    await signalling.opened();
    // These have no answer, or none that is counted. The numbers of offers are those of requests, too.
    for (let id = 1; id <= 3; id += 1) {
      signalling.tell('offer', new SessionDescription({ type: 'offer', sdp: 'v=0', id }));
    }
    signalling.tell('trickle', new TrickleRequest({ candidateInit: '{}' }));
    signalling.tell('ping', BigInt(Date.now()));
    await tally.ask('ping_req', 'matched', () => signalling.ping());
    await tally.ask('add_track', 'matched', () => signalling.addTrack('camera', 'camera'));
    await tally.ask('update_metadata', 'error', () => signalling.updateMetadata(REFUSED));
    return {
      echo: (n) => signalling.updateMetadata(`name ${n}`),
      other: (n) => signalling.addTrack(`track-${n}`, REFUSED),
      close: () => signalling.close(),
    };
  },
};
