'use strict';
// Stands before each of the scripts that Node apps load.
//
// An ES module that cannot be loaded: PM2 loads the app's main module by import(), so its failure is a rejection like any other, which is
// told and does not end the process. Node itself makes an exception of it, whose origin says that it was a rejection. Here it becomes
// one again, the process is kept alive, and the manager is told, so that it lets no such process take the place of one that works.
// What is no ES module by PM2's rule stays with Node, and so does everything where rejections are to be exceptions.

/** What the app may replace later. */
const tellManager = process.send?.bind(process);

const options = `${process.execArgv.join(' ')} ${process.env.NODE_OPTIONS ?? ''}`;

/**
 * Whether Node has begun with the app's main module. What it is told to load before that may fail with the same signs; where it does not
 * tell one from the other (before release 22), all of it is left to Node.
 */
let begun = true;
// Held, or Node would forget it.
const imports = /--(?:import|(?:experimental-)?loader)\b/.test(options)
  ? require('node:diagnostics_channel').channel('tracing:module.import:start')
  : undefined;
if (imports) {
  begun = false;
  imports.subscribe(({ parentURL }) => {
    begun ||= parentURL === undefined;
  });
}

/**
 * Whether an exception, of which Node is just about to tell, is the failed load of the app's main module. If so, nobody sees an exception:
 * it comes again as a rejection.
 */
function becomesRejection(reason, origin) {
  if (origin !== 'unhandledRejection' || !begun || isStrict() || !isEsModule(process.argv[1])) return false;
  // Where nobody hears of rejections they end the process, by import() too.
  if (process.listenerCount('unhandledRejection') === 0) return false;
  try {
    process.setUncaughtExceptionCaptureCallback(() => {
      process.setUncaughtExceptionCaptureCallback(null);
      process.nextTick(stayWithoutMain, reason);
    });
    return true;
  } catch {
    return false; // The app captures exceptions by itself.
  }
}

function stayWithoutMain(reason) {
  process.channel?.ref();
  if (process.connected) tellManager({ cmd: 'NODE_PM_LOAD_FAILED', reason: firstLine(reason) }, () => {});
  const promise = Promise.reject(reason);
  promise.catch(() => {});
  process.emit('unhandledRejection', reason, promise);
}

function firstLine(reason) {
  try {
    return String(reason).split('\n', 1)[0].slice(0, 1000);
  } catch {
    return 'an error that cannot be put into words';
  }
}

/** Asked for by the app's `node_args`, or by the environment. */
function isStrict() {
  return /--unhandled[-_]rejections[= ]strict\b/.test(options);
}

/** PM2's rule: by the ending, else by the nearest package.json. */
function isEsModule(file) {
  const { readFileSync } = require('node:fs');
  const { dirname, extname, join } = require('node:path');
  if (typeof file !== 'string') return false;
  if (extname(file) === '.mjs') return true;
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    let text;
    try {
      text = readFileSync(join(folder, 'package.json'), 'utf8');
    } catch {
      if (dirname(folder) === folder) return false;
      continue;
    }
    try {
      return JSON.parse(text).type === 'module';
    } catch {
      return false;
    }
  }
}
