// A server of the language that it comes from, with a kernel that does run what it is told. What
// the tests see is passed on to it.
'use strict';

const fs = require('fs');
const os = require('os');
const path = require('path');
const readline = require('readline');
const { spawn } = require('child_process');
const { KernelConnection, ServerConnection } = require('@jupyterlab/services');
const WebSocket = require('ws');
const { passOn } = require('../support/socket');

const TOKEN = 'token';

// It says its port a moment before it listens there.
const PATIENCE_MS = 60_000;

async function listening(url, request) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await fetch(url, request);
    } catch (error) {
      if (error.cause?.code !== 'ECONNREFUSED' || Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

// Its port, and the path of a kernel's channels.
async function start() {
  const python = path.join(process.env.NODE_PATH, '../venv/bin/python');
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'jupyter-'));
  const env = { ...process.env, HOME: folder };
  const script = path.join(__dirname, 'jupyter.py');
  const server = spawn(python, [script, folder], { env, stdio: ['pipe', 'pipe', 'ignore'] });
  process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
  const lines = readline.createInterface({ input: server.stdout });
  const port = Number(await new Promise((resolve) => lines.once('line', resolve)));
  const kernel = await listening(`http://127.0.0.1:${port}/api/kernels`, {
    method: 'POST',
    headers: { authorization: `token ${TOKEN}` },
  });
  const { id } = await kernel.json();
  return { port, channels: `/api/kernels/${id}/channels` };
}

module.exports = {
  protocol: 'jupyter',
  client: '@jupyterlab/services',
  server: 'jupyter_server',
  echo: ['execute_request', 'matched'],
  other: ['execute_request', 'error'],

  async serve() {
    const { port, channels } = await start();
    return (request, socket, head) => {
      const { search } = new URL(request.url, 'wss://127.0.0.1');
      passOn({ port, path: `${channels}${search}` }, request, socket, head);
    };
  },

  async connect(url, tally) {
    const serverSettings = ServerConnection.makeSettings({
      baseUrl: `${url.replace('wss', 'https')}/`,
      wsUrl: `${url}/`,
      token: TOKEN,
      appendToken: true,
      WebSocket,
    });
    const kernel = new KernelConnection({ model: { id: 'any', name: 'python3' }, serverSettings });
    kernel.anyMessage.connect((_, { msg, direction }) => {
      // Asked by the package itself.
      const asked = msg.header.msg_type === 'kernel_info_reply' && direction === 'recv';
      if (asked) tally.count('kernel_info_request', 'matched');
    });
    await kernel.info;
    const run = async (code) => {
      const done = kernel.requestExecute({ code, stop_on_error: false, store_history: false }).done;
      const { content } = await done;
      if (content.status !== 'ok') throw new Error(content.evalue);
    };
    return {
      echo: () => run('import time; time.sleep(0.005)'),
      other: () => run('raise ValueError("as asked")'),
      close: () => kernel.dispose(),
    };
  },
};
