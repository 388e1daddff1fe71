// Loaded into cluster workers by --require. It takes nothing from the app: it listens, and acts when it is told to.
//
// Drain, asked for by {"cmd":"NODE_PM_DRAIN","ms":n} right before a worker is told to disconnect: clients that keep their
// connection are told to make a new one next time, and idle connections are left alone for n ms, because the next request
// may be on its way already.
//
// An unhandled rejection is told and does not end the process; an exception is told to the manager before it ends it.
const { isMainThread } = require('node:worker_threads');

// Children that the app forks are no workers.
const own = process.execArgv.indexOf(__filename);
if (own > 0 && process.execArgv[own - 1] === '--require') process.execArgv.splice(own - 1, 2);

if (isMainThread && process.connected) {
  process.on('internalMessage', (message) => {
    if (message.cmd === 'NODE_PM_DRAIN') drain(Number(message.ms) || 0);
  });
  process.on('uncaughtExceptionMonitor', (error, origin) => {
    if (becomesRejection(error, origin)) return;
    // Without a listener Node prints it and ends.
    if (process.listenerCount('uncaughtException') > 0) print(error);
    tell(error);
  });
  process.on('unhandledRejection', (reason) => {
    console.error('You have triggered an unhandledRejection: a promise was rejected and nothing handles it');
    print(reason);
    tell(reason);
  });
}

function print(error) {
  console.error(error instanceof Error ? error.stack : error);
}

function tell(error) {
  const known = error instanceof Error ? error : new Error(String(error));
  const data = { message: known.message, stack: known.stack, name: known.name };
  try {
    if (process.connected) process.send({ type: 'process:exception', data }, () => {});
  } catch {
    // The manager is gone, or the error can't be told: what ends the process is the error, not this.
  }
}

let draining = false;
function drain(ms) {
  if (draining) return;
  draining = true;
  const http = require('node:http');
  const { writeHead } = http.ServerResponse.prototype;
  http.ServerResponse.prototype.writeHead = function () {
    this.shouldKeepAlive = false;
    return writeHead.apply(this, arguments);
  };
  const closing = new Set();
  const undo = [];
  for (const name of ['node:http', 'node:https']) {
    let server;
    try {
      server = require(name).Server.prototype;
    } catch {
      continue; // Built without TLS.
    }
    const { close, closeIdleConnections } = server;
    server.close = function () {
      closing.add(this);
      return close.apply(this, arguments);
    };
    if (closeIdleConnections) {
      server.closeIdleConnections = function () {
        closing.add(this);
      };
      undo.push(() => {
        server.closeIdleConnections = closeIdleConnections;
      });
    }
  }
  setTimeout(() => {
    for (const restore of undo) restore();
    for (const server of closing) server.closeIdleConnections?.();
  }, ms);
}
