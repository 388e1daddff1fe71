// A stand-in for the hub while working on the pages: the same contract, invented data. Never shipped, not used by any test.
//   node test/dev/mock.mjs [--port 9700] [--bulk 10000] [--empty] [--slow]
// Log in with any name and the password "pilothouse".
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const arg = (name, otherwise) => {
  const i = process.argv.indexOf(`--${name}`);
  return i < 0 ? otherwise : (process.argv[i + 1] ?? true);
};
const PORT = Number(arg('port', 9700));
const BULK = Number(arg('bulk', 0));
const EMPTY = process.argv.includes('--empty');
const DIST = arg('dist', fileURLToPath(new URL('../../dist/', import.meta.url)));
const MiB = 1024 ** 2;
const BUCKET = {
  _id: '5f1e0c0ffee0c0ffee0c0ffe',
  name: 'Production',
  comment: 'The shop and what keeps it running',
  public_id: 'q7m2k9x4w1z8b3n',
  secret_id: 's4f8h2j6l0p3r5t',
  node: { endpoints: { web: `http://127.0.0.1:${PORT}` } },
  credits: { offer_type: 'unlimited' },
  payment: { offer_type: 'unlimited' },
  configuration: {},
  offline_after: 120,
  delete_offline: false,
  max_servers: 0,
};
const SECOND = {
  ...BUCKET,
  _id: '5f1e0c0ffee0c0ffee0c0fff',
  name: 'Staging',
  comment: '',
  credits: { offer_type: 'pro_4' },
};

const started = Date.now();
const DAY = 86_400_000;
let seed = 7;
const rnd = () => {
  seed = (seed * 1664525 + 1013904223) % 2 ** 32;
  return seed / 2 ** 32;
};

function proc(id, name, extra = {}) {
  const base = { cpu: extra.cpu ?? rnd() * 12, memory: (extra.memory ?? 40 + rnd() * 160) * MiB };
  return {
    key: `${id}-${name}`,
    pm_id: id,
    name,
    namespace: extra.namespace ?? 'default',
    pid: 1000 + id * 7,
    status: extra.status ?? 'online',
    exec_mode: extra.mode ?? 'fork_mode',
    restart_time: extra.restarts ?? 0,
    pm_uptime: started - (extra.age ?? rnd() * 6 * DAY),
    created_at: started - 7 * DAY,
    monitored: true,
    over_plan: extra.over ?? false,
    interpreter: extra.interpreter ?? 'node',
    node_version: '22.11.0',
    version: extra.version ?? '2.4.1',
    versioning: extra.git
      ? {
          type: 'git',
          url: 'https://github.com/example/shop-api',
          branch: 'main',
          revision: '213084a11d9f0c',
          comment: 'Retry payments that time out',
          unstaged: extra.unstaged ?? false,
        }
      : null,
    metrics: extra.metrics ?? {},
    actions: extra.actions ?? [],
    ...base,
    base,
  };
}

const nodeMetrics = () => ({
  'Heap Size': { value: '84.1', unit: 'MiB', type: 'internal/v8/heap/total' },
  'Heap Usage': { value: 78.4, unit: '%', type: 'internal/v8/heap/usage' },
  'Used Heap Size': { value: '65.9', unit: 'MiB', type: 'internal/v8/heap/used' },
  'Active requests': { value: 4, unit: '', type: 'internal/libuv/requests' },
  'Active handles': { value: 21, unit: '', type: 'internal/libuv/handles' },
  'Event Loop Latency': { value: '0.41', unit: 'ms', type: 'internal/libuv/latency/p50' },
  'Event Loop Latency p95': { value: '1.92', unit: 'ms', type: 'internal/libuv/latency/p95' },
  HTTP: { value: 1284, unit: 'req/min', type: 'internal/http/builtin/reqs' },
  'HTTP Mean Latency': { value: 38, unit: 'ms', type: 'internal/http/builtin/latency/p50' },
  'HTTP P95 Latency': { value: 176, unit: 'ms', type: 'internal/http/builtin/latency/p95' },
  'Orders in queue': { value: 12, unit: '', type: 'custom' },
});

function server(id, name, processes, extra = {}) {
  return {
    id,
    name,
    hostname: extra.hostname ?? name,
    username: 'deploy',
    online: extra.online ?? true,
    state: extra.state ?? 'online',
    last_seen: Date.now() - (extra.ago ?? 0),
    agent: extra.agent ?? 'pilothouse',
    versions: { pm2: '7.0.4', node: 'v22.11.0', agent: '0.1.0' },
    cpus: extra.cpus ?? 8,
    total_mem: 32 * 1024 * MiB,
    free_mem: 11 * 1024 * MiB,
    loadavg: [1.42, 1.2, 0.9],
    uptime: 3_600 * 24 * 41,
    public_ip: extra.ip ?? '203.0.113.10',
    internal_ip: '10.0.3.17',
    reverse: extra.reverse ?? true,
    processes,
  };
}

const servers = EMPTY
  ? []
  : [
      server('a1', 'web-1', [
        ...[0, 1, 2, 3].map((i) =>
          proc(i, 'shop-api', {
            mode: 'cluster_mode',
            cpu: 22 + i * 5,
            memory: 210,
            git: true,
            metrics: nodeMetrics(),
            actions: ['clear-cache', 'reload-config', 'dump-state'],
            restarts: i === 1 ? 2 : 0,
          }),
        ),
        proc(4, 'checkout', {
          mode: 'cluster_mode',
          cpu: 57,
          memory: 620,
          git: true,
          unstaged: true,
          metrics: nodeMetrics(),
          restarts: 1,
        }),
        proc(5, 'checkout', { mode: 'cluster_mode', cpu: 63, memory: 655, git: true, metrics: nodeMetrics() }),
        proc(6, 'mailer', { status: 'errored', restarts: 15, cpu: 0, memory: 0 }),
        proc(7, 'image-resizer', { cpu: 93, memory: 1120, interpreter: 'python3', restarts: 3 }),
        proc(8, 'search-indexer', { cpu: 4, memory: 930, namespace: 'search' }),
        proc(9, 'nightly-report', { status: 'stopped', cpu: 0, memory: 0 }),
        proc(10, 'pm2-logrotate', { cpu: 0.1, memory: 44 }),
      ]),
      server(
        'a2',
        'web-2',
        [
          ...[0, 1, 2, 3].map((i) =>
            proc(i, 'shop-api', {
              mode: 'cluster_mode',
              cpu: 18 + i * 4,
              memory: 205,
              git: true,
              metrics: nodeMetrics(),
              actions: ['clear-cache'],
            }),
          ),
          proc(4, 'webhooks', { cpu: 6, memory: 96 }),
          proc(5, 'live-prices', { status: 'waiting restart', restarts: 41, cpu: 0, memory: 0 }),
          proc(6, 'extra-worker', { over: true }),
        ],
        { ip: '203.0.113.11' },
      ),
      server(
        'b1',
        'db-tools',
        [
          proc(0, 'pg-backup', { cpu: 1, memory: 60 }),
          proc(1, 'metabase', { cpu: 12, memory: 1800, interpreter: 'none' }),
        ],
        {
          online: false,
          state: 'offline',
          ago: 4 * 60_000,
          ip: '203.0.113.20',
        },
      ),
      server('c1', 'edge-eu', [proc(0, 'proxy', { cpu: 8, memory: 71 }), proc(1, 'geo', { cpu: 2, memory: 130 })], {
        reverse: false,
        agent: 'pm2',
        cpus: 4,
      }),
      server('d1', 'fresh-host', [], { cpus: 2 }),
    ];
if (BULK > 0) {
  const list = [];
  for (let i = 0; i < BULK; i++)
    list.push(proc(i, `job-${String(i % Math.ceil(BULK / 2)).padStart(5, '0')}`, { mode: 'cluster_mode' }));
  servers.push(server('z9', 'bulk', list, { cpus: 128 }));
}

let rev = 1;
const sockets = new Set();
const view = ({ base, ...rest }) => rest;
const snapshot = (id) => ({
  op: 'snapshot',
  id,
  rev,
  at: Date.now(),
  servers: servers.map((s) => ({ ...s, processes: s.processes.map(view) })),
});

function tick() {
  rev++;
  const changed = [];
  for (const s of servers) {
    if (!s.online) continue;
    s.loadavg = [Math.max(0, s.loadavg[0] + (rnd() - 0.5) * 0.2), 1.2, 0.9];
    const processes = [];
    for (const p of s.processes) {
      if (p.status !== 'online') continue;
      p.cpu = Math.max(0, Math.round((p.base.cpu * (0.8 + rnd() * 0.4) + (rnd() < 0.03 ? 20 : 0)) * 10) / 10);
      p.memory = Math.round(p.base.memory * (1 + Math.sin(Date.now() / 20_000 + p.pm_id) * 0.05));
      const patch = { key: p.key, cpu: p.cpu, memory: p.memory };
      if (p.metrics['Event Loop Latency']) {
        p.metrics['Event Loop Latency'].value = (0.3 + rnd() * 0.6).toFixed(2);
        p.metrics['HTTP Mean Latency'].value = Math.round(30 + rnd() * 30);
        p.metrics.HTTP.value = Math.round(1200 + rnd() * 200);
        patch.metrics = p.metrics;
      }
      processes.push(patch);
    }
    changed.push({ id: s.id, loadavg: s.loadavg, last_seen: Date.now(), processes });
  }
  for (const w of sockets) {
    for (const watch of w.watches.values()) {
      if (watch.topic === 'servers')
        w.send({ op: 'changes', id: watch.id, rev, at: Date.now(), servers: changed, gone: [] });
    }
  }
}
setInterval(tick, 1000);

const WORDS = [
  'GET /cart 200 12ms',
  'POST /orders 201 88ms',
  'cache miss for sku 8841',
  'payment provider answered in 240ms',
  'user 1182 signed in',
  'job 5531 done',
  'retrying webhook delivery (2/5)',
];
setInterval(() => {
  for (const w of sockets) {
    for (const watch of w.watches.values()) {
      if (watch.topic !== 'logs') continue;
      const s = servers.find((x) => x.id === watch.server);
      if (!s?.online) continue;
      const lines = [];
      for (const p of s.processes) {
        if ((watch.app && p.name !== watch.app) || p.status !== 'online' || rnd() < 0.5) continue;
        const err = rnd() < 0.1;
        lines.push({
          at: Date.now(),
          server: s.name,
          pm_id: p.pm_id,
          name: p.name,
          stream: err ? 'err' : 'out',
          data: err
            ? `TypeError: Cannot read properties of undefined (reading 'total')\n    at Order.sum (/srv/shop/order.js:${Math.floor(rnd() * 300)}:17)\n`
            : `\u001b[2m[${p.name}]\u001b[0m \u001b[3${1 + Math.floor(rnd() * 6)}m${rnd() < 0.5 ? 'info' : 'debug'}\u001b[0m ${WORDS[Math.floor(rnd() * WORDS.length)]}\n`,
        });
      }
      if (lines.length) w.send({ op: 'logs', id: watch.id, dropped: 0, lines });
    }
  }
}, 300);

function series(q) {
  const from = Number(q.get('from'));
  const to = Number(q.get('to'));
  const points = Math.min(2000, Number(q.get('points') || 300));
  const name = q.get('metric');
  const out = [];
  for (const s of servers) {
    if (q.get('server') && q.get('server') !== s.id) continue;
    for (const p of s.processes) {
      if (q.get('app') && p.name !== q.get('app')) continue;
      const step = Math.max(1000, (to - from) / points);
      const mid =
        name === 'cpu' ? p.base.cpu : name === 'memory' ? p.base.memory : Number(p.metrics[name]?.value ?? Number.NaN);
      if (Number.isNaN(mid)) continue;
      const t = [],
        min = [],
        max = [],
        avg = [];
      for (let x = Math.ceil(from / step) * step; x <= Math.min(to, Date.now()); x += step) {
        const wave = 1 + 0.25 * Math.sin(x / 900_000 + p.pm_id) + 0.1 * Math.sin(x / 61_000 + s.id.charCodeAt(0));
        const gap = Math.floor(x / step) % 97 < 3 && s.id === 'a2';
        t.push(Math.round(x));
        avg.push(gap ? null : mid * wave);
        min.push(gap ? null : mid * wave * 0.85);
        max.push(gap ? null : mid * wave * (1.1 + ((x / step) % 13 < 1 ? 0.5 : 0)));
      }
      out.push({ server: s.id, app: p.name, pm_id: p.pm_id, t, min, max, avg });
    }
  }
  return { unit: name === 'cpu' ? '%' : name === 'memory' ? 'B' : 'ms', series: out };
}

const hidden = [
  {
    id: 'x1',
    name: 'old-vm',
    hostname: 'old-vm',
    online: false,
    state: 'hidden',
    last_seen: Date.now() - 9 * DAY,
    versions: { pm2: '6.0.1', node: 'v18.20.0', agent: '' },
    agent: 'pm2',
    processes: [],
    public_ip: '',
    internal_ip: '10.0.0.9',
  },
];

function api(req, url, body, reply) {
  const p = url.pathname;
  if (p === '/api/auth/login') {
    if (body.password !== 'pilothouse')
      return reply(400, { error: 'invalid_grant', error_description: 'wrong user name or password' });
    return reply(200, token(), { 'Set-Cookie': 'pilothouse_refresh=1; HttpOnly; SameSite=Strict; Path=/' });
  }
  if (p === '/api/auth/refresh')
    return /pilothouse_refresh=1/.test(req.headers.cookie ?? '')
      ? reply(200, token())
      : reply(401, { msg: 'no session' });
  if (p === '/api/auth/logout') return reply(200, {}, { 'Set-Cookie': 'pilothouse_refresh=; Max-Age=0; Path=/' });
  if (!/^Bearer t/.test(req.headers.authorization ?? '')) return reply(401, { msg: 'token unknown' });
  if (p === '/api/users/isLogged') return reply(200, { _id: '1', username: 'ada', email: 'ada@example.com' });
  if (p === '/api/bucket/') return reply(200, [BUCKET, SECOND]);
  const m = /^\/api\/bucket\/(\w{24})(\/.*)?$/.exec(p);
  if (!m) return reply(404, { msg: 'no such route' });
  const rest = m[2] ?? '';
  if (rest === '') return reply(200, BUCKET);
  if (rest === '/current_role') return reply(200, { role: 'owner' });
  if (rest === '/users_authorized')
    return reply(200, [
      { _id: '1', username: 'ada', email: 'ada@example.com', role: 'owner' },
      { _id: '2', username: 'linus', email: 'linus@example.com', role: 'developer' },
    ]);
  if (rest === '/audit')
    return reply(200, {
      entries: ['restart', 'invite', 'change_role', 'pull'].map((what, i) => ({
        at: new Date(Date.now() - i * 3_600_000).toISOString(),
        who: 'ada@example.com',
        what,
        target: i % 2 ? 'linus@example.com' : 'web-1/api',
        outcome: what === 'pull' ? 'the policy of the host does not allow it' : 'ok',
        detail: {},
      })),
      next: null,
    });
  if (rest === '/servers')
    return reply(200, [...servers.map((s) => ({ ...s, processes: s.processes.map(view) })), ...hidden]);
  if (rest === '/series') return reply(200, series(url.searchParams));
  if (rest === '/metrics') {
    const names = new Set(['cpu', 'memory']);
    for (const s of servers)
      for (const x of s.processes)
        if (x.name === url.searchParams.get('app')) for (const n of Object.keys(x.metrics)) names.add(n);
    return reply(200, [...names]);
  }
  const action = /^\/servers\/(\w+)(\/actions)?$/.exec(rest);
  if (action && req.method === 'DELETE') {
    const i = servers.findIndex((s) => s.id === action[1]);
    if (i >= 0) {
      const [gone] = servers.splice(i, 1);
      rev++;
      for (const w of sockets)
        for (const watch of w.watches.values())
          w.send({ op: 'changes', id: watch.id, rev, at: Date.now(), servers: [], gone: [gone.id] });
    }
    return reply(200, { ok: true });
  }
  if (action?.[2]) {
    const s = servers.find((x) => x.id === action[1]);
    if (!s?.reverse) return reply(200, { ok: false, error: 'Reverse connection not established' });
    const list = s.processes.filter((x) => (body.process ? x.key === body.process : x.name === body.app));
    return setTimeout(() => {
      for (const x of list) {
        if (body.action === 'stop') x.status = 'stopped';
        if (body.action === 'start' || body.action === 'restart') x.status = 'online';
        if (body.action === 'restart') x.restart_time++;
      }
      rev++;
      for (const w of sockets)
        for (const watch of w.watches.values())
          if (watch.topic === 'servers')
            w.send({
              op: 'changes',
              id: watch.id,
              rev,
              at: Date.now(),
              servers: [
                {
                  id: s.id,
                  processes: list.map((x) => ({ key: x.key, status: x.status, restart_time: x.restart_time })),
                },
              ],
              gone: [],
            });
      reply(200, {
        id: 1,
        ok: true,
        took_ms: 212,
        result: body.action === 'dump-state' ? { carts: 12, sessions: 233 } : null,
      });
    }, 400);
  }
  return reply(404, { msg: 'no such route' });
}

const token = () => ({
  access_token: `t${randomBytes(8).toString('hex')}`,
  expire_at: new Date(Date.now() + 3_600_000).toISOString(),
  token_type: 'Bearer',
});
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
};
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const http = createServer((req, res) => {
  const url = new URL(req.url, 'http://x');
  if (url.pathname.startsWith('/api/')) {
    let text = '';
    req.on('data', (d) => (text += d));
    req.on('end', () => {
      const reply = (status, value, headers = {}) => {
        res.writeHead(status, { 'Content-Type': 'application/json', ...headers });
        res.end(JSON.stringify(value));
      };
      let body = {};
      try {
        body = text ? JSON.parse(text) : {};
      } catch {}
      api(req, url, body, reply);
    });
    return;
  }
  let file = join(DIST, normalize(url.pathname));
  try {
    if (!statSync(file).isFile()) throw 0;
  } catch {
    file = join(DIST, 'index.html');
  }
  res.writeHead(200, {
    'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream',
    'Content-Security-Policy': CSP,
  });
  res.end(readFileSync(file));
});

http.on('upgrade', (req, socket) => {
  const accept = createHash('sha1')
    .update(`${req.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  const w = {
    watches: new Map(),
    send(value) {
      const data = Buffer.from(JSON.stringify(value));
      const head =
        data.length < 126 ? Buffer.from([0x81, data.length]) : data.length < 65536 ? Buffer.alloc(4) : Buffer.alloc(10);
      if (data.length >= 65536) {
        head.writeUInt16BE(0x817f);
        head.writeBigUInt64BE(BigInt(data.length), 2);
      } else if (data.length >= 126) {
        head.writeUInt16BE(0x817e);
        head.writeUInt16BE(data.length, 2);
      }
      socket.write(Buffer.concat([head, data]));
    },
  };
  sockets.add(w);
  let buffer = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    buffer = Buffer.concat([buffer, chunk]);
    for (;;) {
      if (buffer.length < 6) return;
      let n = buffer[1] & 0x7f;
      let at = 2;
      if (n === 126) {
        n = buffer.readUInt16BE(2);
        at = 4;
      }
      if (buffer.length < at + 4 + n) return;
      const key = buffer.subarray(at, at + 4);
      const data = Buffer.from(buffer.subarray(at + 4, at + 4 + n).map((b, i) => b ^ key[i % 4]));
      const op = buffer[0] & 0x0f;
      buffer = buffer.subarray(at + 4 + n);
      if (op === 8) return socket.end();
      if (op !== 1) continue;
      const message = JSON.parse(data.toString());
      if (message.op === 'watch') {
        w.watches.set(message.id, message);
        if (message.topic === 'servers') w.send(snapshot(message.id));
      } else if (message.op === 'unwatch') w.watches.delete(message.id);
    }
  });
  const end = () => sockets.delete(w);
  socket.on('close', end);
  socket.on('error', end);
});
http.listen(PORT, '127.0.0.1', () => console.log(`mock hub on http://127.0.0.1:${PORT}`));
