// Loaded into Node apps by --require, unless they refuse it: tells the manager what the app takes and how it fares, offers
// profiles, and reports errors. Names, units and shapes are those that PM2's dashboards know. It takes nothing from the app: no timer or
// listener of it keeps the process alive, and where the app brings @pm2/io itself, it stands aside.
//
// The manager says by a variable that it is meant; children that the app starts are not.
const mark = process.env.PILOTHOUSE_MONITOR;
delete process.env.PILOTHOUSE_MONITOR;
const own = process.execArgv.indexOf(__filename);
if (own > 0 && process.execArgv[own - 1] === '--require') process.execArgv.splice(own - 1, 2);

// What the app may replace later.
const { setTimeout: later, clearTimeout: never } = globalThis;

/** Longest message that is sent: the manager drops longer ones. */
const MAX_MESSAGE = 60 * 1024 * 1024;
const BUSY_TICK = 1000;
const IDLE_TICK = 5000;

function send(type, data) {
  try {
    if (process.connected) tellManager({ type, data }, () => {});
  } catch {
    // The manager is gone, or the data can't be told: the app is not to suffer.
  }
}

const undo = [];
function listen(event, listener) {
  process.on(event, listener);
  undo.push(() => process.removeListener(event, listener));
}

if (mark && process.connected) {
  const script = process.env.pm_exec_path;
  process.title = process.env.PROCESS_TITLE || (script ? `node ${script}` : process.title);
  introduce();
  offer();
  measure();
  if (mark === 'errors') reportErrors();
  standAside();
}

// ---- what there is

function introduce() {
  const name = process.env.name || 'outside-pm2';
  const options = {
    error: true,
    heapdump: true,
    'feature.profiler.heapsnapshot': true,
    'feature.profiler.heapsampling': true,
    'feature.profiler.cpu_js': true,
    latency: true,
    catchExceptions: true,
    profiling: true,
    metrics: { v8: true, network: false, eventLoop: true, runtime: true, http: true },
    standalone: false,
    tracing: { enabled: process.env.trace === 'true', outbound: process.env.trace === 'true' },
    module_conf: {},
    apm: { type: 'node', version: 'pilothouse' },
    module_name: name,
    module_version: process.env.version || 'N/A',
  };
  configure(options, process.env[name]);
  send('axm:option:configuration', options);
}

/**
 * Puts what was set for the app or module (JSON in the variable of its name; of a module, what its package says by `config` too) among
 * the options: each at the top, and all of it as `module_conf`, where passwords and probes are not shown.
 */
function configure(options, stored) {
  if (!stored) return;
  let since;
  try {
    since = cast(JSON.parse(stored));
  } catch {
    return; // a variable of the app's own
  }
  if (since === null || typeof since !== 'object' || Array.isArray(since)) return;
  Object.assign(options, since);
  options.module_conf = { ...since };
  delete options.module_conf.probes;
  for (const key of ['password', 'passwd']) {
    const secret = options.module_conf[key];
    if (secret !== undefined && secret !== '') options.module_conf[key] = 'Password hidden';
  }
}

/** What is stored is text; numbers, true, false and null are told as such. */
function cast(value) {
  if (Array.isArray(value)) return value.map(cast);
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, cast(inner)]));
  }
  if (typeof value !== 'string') return value;
  const words = { true: true, false: false, null: null };
  if (Object.hasOwn(words, value)) return words[value];
  return Number.isNaN(Number(value)) ? value : Number(value);
}

/**
 * An app that brings @pm2/io sets this symbol, after it has looked whether the global object itself has it. So the setter is one step
 * further up.
 */
function standAside() {
  const key = Symbol.for('@pm2/io');
  const above = Object.getPrototypeOf(globalThis);
  Object.defineProperty(above, key, {
    configurable: true,
    get: () => undefined,
    set(value) {
      delete above[key];
      Object.defineProperty(globalThis, key, { value, writable: true, configurable: true, enumerable: true });
      for (const take of undo.splice(0)) take();
    },
  });
}

// ---- metrics

function measure() {
  const v8 = require('node:v8');
  const { performance } = require('node:perf_hooks');
  const http = observeHttp(performance);
  const late = [];
  let counted = { handles: 0, requests: 0, at: 0 };
  let load = performance.eventLoopUtilization();
  let ticks = 0;
  let due = performance.now() + BUSY_TICK;
  let timer = later(tick, BUSY_TICK);
  timer.unref();
  undo.push(() => never(timer));

  function tick() {
    const now = performance.now();
    late.push(Math.max(0, now - due));
    if (late.length > 300) late.shift();
    ticks += 1;
    const { utilization } = performance.eventLoopUtilization(load);
    // Counting thousands of sockets takes a millisecond: not every second.
    if (ticks - counted.at >= 5 || counted.handles < 500) {
      counted = { handles: process._getActiveHandles().length, requests: process._getActiveRequests().length, at: ticks };
    }
    const heap = v8.getHeapStatistics();
    const mib = (bytes) => (bytes / 1048576).toFixed(2);
    const metrics = {
      'Used Heap Size': metric('internal/v8/heap/used', mib(heap.used_heap_size), 'MiB'),
      'Heap Usage': metric('internal/v8/heap/usage', round((heap.used_heap_size / heap.total_heap_size) * 100), '%'),
      'Heap Size': metric('internal/v8/heap/total', mib(heap.total_heap_size), 'MiB'),
      'Event Loop Latency p95': metric('internal/libuv/latency/p95', quantile(late, 0.95).toFixed(2), 'ms'),
      'Event Loop Latency': metric('internal/libuv/latency/p50', quantile(late, 0.5).toFixed(2), 'ms'),
      'Event Loop Utilization': metric('internal/libuv/utilization', round(utilization * 100), '%'),
      'Active handles': metric('internal/libuv/handles', counted.handles),
      'Active requests': metric('internal/libuv/requests', counted.requests),
      ...http(now),
    };
    send('axm:monitor', metrics);
    // An app that does nothing is not woken every second.
    const pause = ticks < 5 || utilization > 0.005 ? BUSY_TICK : IDLE_TICK;
    due = performance.now() + pause;
    timer = later(tick, pause);
    timer.unref();
    // From here, so that what is done here does not make an idle app look busy.
    load = performance.eventLoopUtilization();
  }
}

const metric = (type, value, unit) => ({ historic: true, ...(unit && { unit }), type, value });
const round = (value) => Math.round(value * 100) / 100;

function quantile(values, part) {
  const sorted = values.slice().sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
}

/** Counts requests of servers as they end; gives a function that tells the figures, none before the first request. */
function observeHttp(performance) {
  const channels = require('node:diagnostics_channel');
  const began = Symbol('began');
  // Durations in classes that grow by 4 %, so that a count costs nothing.
  const classes = new Uint32Array(320);
  const windows = [];
  let count = 0;
  let total = 0;
  const onStart = ({ request }) => {
    request[began] = performance.now();
  };
  const onFinish = ({ request }) => {
    const took = performance.now() - request[began];
    if (!(took >= 0)) return;
    count += 1;
    total += 1;
    classes[Math.min(classes.length - 1, Math.round(Math.log2(took + 1) * 16))] += 1;
  };
  // Held, or older Nodes would forget them.
  const start = channels.channel('http.server.request.start');
  const finish = channels.channel('http.server.response.finish');
  start.subscribe(onStart);
  finish.subscribe(onFinish);
  undo.push(() => {
    start.unsubscribe(onStart);
    finish.unsubscribe(onFinish);
  });
  let halved = 0;
  return (now) => {
    if (total === 0) return {};
    windows.push({ now, count });
    count = 0;
    while (windows.length > 1 && now - windows[0].now > 60_000) windows.shift();
    if (now - halved > 60_000) {
      halved = now;
      for (let at = 0; at < classes.length; at++) classes[at] >>= 1;
    }
    const perMinute = windows.reduce((sum, window) => sum + window.count, 0);
    return {
      HTTP: metric('internal/http/builtin/reqs', perMinute, 'req/min'),
      'HTTP P95 Latency': metric('internal/http/builtin/latency/p95', round(latency(classes, 0.95)), 'ms'),
      'HTTP Mean Latency': metric('internal/http/builtin/latency/p50', round(latency(classes, 0.5)), 'ms'),
    };
  };
}

function latency(classes, part) {
  const all = classes.reduce((sum, n) => sum + n, 0);
  let seen = 0;
  for (let at = 0; at < classes.length; at++) {
    seen += classes[at];
    if (seen > 0 && seen >= all * part) return 2 ** (at / 16) - 1;
  }
  return 0;
}

// ---- actions

function offer() {
  const actions = {
    'km:heapdump': [2, heapDump],
    'km:cpu:profiling:start': [2, (opts, reply) => startProfile(cpu, opts, reply)],
    'km:cpu:profiling:stop': [1, (_opts, reply) => stopProfile(cpu, reply)],
    'km:heap:sampling:start': [2, (opts, reply) => startProfile(sampling, opts, reply)],
    'km:heap:sampling:stop': [1, (_opts, reply) => stopProfile(sampling, reply)],
  };
  for (const [action_name, [arity]] of Object.entries(actions)) {
    send('axm:action', { action_name, action_type: 'internal', arity });
  }
  listen('message', (message) => {
    const name = typeof message === 'string' ? message : (message?.msg ?? message?.action_name);
    if (typeof name !== 'string' || !Object.hasOwn(actions, name)) return;
    const opts = typeof message?.opts === 'object' && message.opts !== null ? message.opts : {};
    const reply = (value) => send('axm:reply', { at: Date.now(), action_name: name, return: value });
    try {
      actions[name][1](opts, reply);
    } catch (error) {
      reply({ success: false, err: String(error?.message ?? error) });
    }
  });
  // The listener alone must not keep a script from ending.
  process.channel?.unrefCounted?.();
  undo.unshift(() => process.channel?.refCounted?.());
}

const cpu = {
  type: 'cpuprofile',
  begin(session) {
    session.post('Profiler.enable');
    session.post('Profiler.setSamplingInterval', { interval: 1000 });
    session.post('Profiler.start');
  },
  end: (session, done) => session.post('Profiler.stop', (error, result) => done(error, result?.profile)),
};

const sampling = {
  type: 'heapprofile',
  begin(session, opts) {
    session.post('HeapProfiler.enable');
    session.post('HeapProfiler.startSampling', { samplingInterval: Number(opts.samplingInterval) || 16384 });
  },
  end: (session, done) => session.post('HeapProfiler.stopSampling', (error, result) => done(error, result?.profile)),
};

let running;

function startProfile(kind, opts, reply) {
  if (running) return reply({ success: false, err: 'A profiling is already running' });
  const { Session } = require('node:inspector');
  const session = new Session();
  session.connect();
  kind.begin(session, opts);
  const uuid = Math.random().toString(36).slice(2);
  running = { kind, session, uuid, at: Date.now(), initiated: opts.initiated || 'manual' };
  const limit = Number.parseInt(opts.timeout, 10);
  if (limit > 0) {
    running.timer = later(() => finishProfile(), limit);
    running.timer.unref();
  }
  reply({ success: true, uuid });
}

function stopProfile(kind, reply) {
  if (running?.kind !== kind) return reply({ success: false, err: 'No profiling are already running' });
  reply({ success: true, uuid: running.uuid });
  finishProfile();
}

function finishProfile() {
  const { kind, session, uuid, at, initiated, timer } = running;
  running = undefined;
  never(timer);
  kind.end(session, (error, profile) => {
    session.disconnect();
    if (error) return;
    const data = JSON.stringify(profile);
    const duration = Date.now() - at;
    send('profilings', { uuid, duration, at, data, success: true, initiated, type: kind.type, [kind.type]: true });
  });
}

function heapDump(opts, reply) {
  const at = Date.now();
  const chunks = [];
  let length = 0;
  const snapshot = require('node:v8').getHeapSnapshot();
  snapshot.on('data', (chunk) => {
    length += chunk.length;
    if (length <= MAX_MESSAGE) chunks.push(chunk);
  });
  snapshot.on('end', () => {
    if (length > MAX_MESSAGE) {
      return reply({ success: false, err: `the heap snapshot has ${length} bytes, at most ${MAX_MESSAGE} are sent` });
    }
    reply({ success: true });
    const data = Buffer.concat(chunks.map((chunk) => Buffer.from(chunk))).toString();
    send('profilings', { data, at, initiated: opts.initiated || 'manual', duration: Date.now() - at, type: 'heapdump' });
  });
}

// ---- errors

/** An exception ends the process as it would without this; an unhandled rejection does not, as with PM2. */
function reportErrors() {
  let aside = false;
  undo.push(() => {
    aside = true;
  });
  // Heard to the end: the app's own library would take a main module that can't be loaded for an exception.
  process.on('uncaughtExceptionMonitor', (error, origin) => {
    if (!becomesRejection(error, origin) && !aside) tell(error);
  });
  listen('unhandledRejection', (reason) => {
    if (process.listenerCount('unhandledRejection') === 1) console.error(reason);
    if (reason !== undefined) tell(reason);
  });
}

function tell(reason) {
  const error = reason instanceof Error ? reason : new Error(`Non-error value: ${described(reason)}`);
  const { message, name } = error;
  const stack = String(error.stack ?? '');
  send('process:exception', { message, stack, name, ...place(stack) });
}

function described(value) {
  try {
    return String(JSON.stringify(value)).slice(0, 1000);
  } catch {
    return String(value).slice(0, 1000);
  }
}

/** Where it happened, with the lines around it: the first frame of the stack that is a file of the app. */
function place(stack) {
  const frame = /\(?(?:file:\/\/)?(\/[^\n:()]+):(\d+):\d+\)?$/m.exec(stack);
  if (!frame) return {};
  const [, file, line] = frame;
  const found = { callsite: `${file}:${line}` };
  try {
    const fs = require('node:fs');
    if (fs.statSync(file).size > 1048576) return found;
    const lines = fs.readFileSync(file, 'utf8').split('\n');
    const first = Math.max(0, Number(line) - 6);
    found.context = lines
      .slice(first, Number(line) + 5)
      .map((text, at) => (first + at + 1 === Number(line) ? `>>${text.replace(/^ {0,2}/, '')}` : text).slice(0, 1000))
      .join('\n');
  } catch {
    // Moved, or not readable: the place alone has to do.
  }
  return found;
}
