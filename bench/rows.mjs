// What is measured. Each row measures one side and gives one or more samples.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { clusterRows } from './cluster.mjs';
import { fleetRows } from './fleet.mjs';
import { withHub } from './hub.mjs';
import { preloadRows } from './preload.mjs';
import { cpuSeconds, pss, read, until } from './sides.mjs';
import { supervisord } from './supervisord.mjs';

const MB = 1024 * 1024;

/** A config file with `n` sleeping apps. */
function sleepers(home, n) {
  const file = path.join(home.dir, 'sleepers.json');
  const apps = Array.from({ length: n }, (_, i) => ({ name: `s${i}`, script: '/bin/sleep', args: ['100000'], interpreter: 'none' }));
  writeFileSync(file, JSON.stringify({ apps }));
  return file;
}

/** Runs `work` in a home with 100 sleeping apps. */
const withHundred = (side, work) =>
  side.home((home) => {
    home.run('start', sleepers(home, 100));
    return work(home);
  });

/** A program that notes the time of its first and its last instruction, in ns; `last` keeps it running in between. */
function noting(home, last) {
  const source = path.join(home.dir, 'noting.c');
  const program = path.join(home.dir, 'noting');
  writeFileSync(
    source,
    `#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
static void note(char mark) {
  struct timespec t; char line[64];
  clock_gettime(CLOCK_REALTIME, &t);
  int n = snprintf(line, sizeof line, "%c%ld%09ld\\n", mark, (long)t.tv_sec, t.tv_nsec);
  int f = open("${home.dir}/times", O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (write(f, line, n) < n) _exit(3);
}
int main(void) { note('+'); ${last}; note('-'); _exit(1); }
`,
  );
  execFileSync('cc', ['-O2', '-static', '-o', program, source]);
  return program;
}

/** The noted times with this mark: `+` first, `-` last instructions. */
const times = (home, mark) =>
  read(path.join(home.dir, 'times'))
    .split('\n')
    .filter((line) => line.startsWith(mark))
    .map((line) => Number(line.slice(1)));

/**
 * Throughput of an app's output into its log, in MB/s: from the first write until the log stops growing, which is not
 * always when everything is there (pm2 drops text when it puts dates before lines that its reads cut in two).
 */
const throughput = (megabytes, block, options = []) => (side) =>
  side.home(async (home) => {
    // pm2 puts no log aside, so neither do we here: one file holds it all.
    mkdirSync(home.path, { recursive: true });
    writeFileSync(home.file('module_conf.json'), '{"logrotate":{"enabled":"false"}}');
    const script = path.join(home.dir, 'writer.py');
    const total = megabytes * MB;
    const lines = `(b"x" * 99 + b"\\n") * ${Math.max(1, Math.floor(block / 100))}`;
    writeFileSync(
      script,
      `import os, time
block = ${lines}
left = ${total}
begin = time.time_ns()
while left > 0:
    left -= os.write(1, block[: min(left, len(block))])
open("${home.dir}/begin", "w").write(str(begin))
time.sleep(100000)
`,
    );
    home.run('start', script, '--interpreter', 'python3', '--name', 'writer', ...options);
    const log = home.file('logs', 'writer-out.log');
    let last = { size: 0, at: 0 };
    const grown = () => statSync(log, { throwIfNoEntry: false })?.size ?? 0;
    const end = await until(() => {
      const size = grown();
      const now = Date.now();
      if (size !== last.size) last = { size, at: now };
      const written = read(path.join(home.dir, 'begin')) !== '';
      return written && (size >= total || now - last.at > 1000) && last.at * 1e6;
    }, 180_000);
    return [megabytes / ((end - Number(read(path.join(home.dir, 'begin')))) / 1e9)];
  });

export const rows = [
  {
    id: 'memory',
    what: 'memory (PSS) of the manager at rest, 100 processes',
    unit: 'MB',
    target: '5 MB',
    rounds: 2,
    measure: (side) =>
      withHundred(side, async (home) => {
        // Who the managers are, a list tells: only then it is quiet for so long that all is done and given back that will be.
        const managers = home.managers();
        await new Promise((resolve) => setTimeout(resolve, 5000));
        return [managers.reduce((sum, pid) => sum + pss(pid), 0)];
      }),
  },
  {
    id: 'busy-memory',
    what: 'the same right after the start of all and a list',
    unit: 'MB',
    target: '',
    rounds: 2,
    measure: (side) => withHundred(side, (home) => [home.managers().reduce((sum, pid) => sum + pss(pid), 0)]),
  },
  {
    id: 'list',
    what: 'list, 100 processes',
    unit: 'ms',
    target: '3 ms',
    rounds: 2,
    measure: (side) => withHundred(side, (home) => Array.from({ length: 10 }, () => home.time('list')).slice(1)),
  },
  {
    id: 'start100',
    what: 'start 100 processes',
    unit: 'ms',
    target: '100 ms',
    rounds: 4,
    measure: (side) =>
      side.home((home) => {
        home.run('ping');
        return [home.time('start', sleepers(home, 100))];
      }),
  },
  {
    id: 'restart',
    what: 'restart → new process',
    unit: 'ms',
    target: '5 ms',
    rounds: 2,
    measure: (side) =>
      side.home(async (home) => {
        home.run('start', noting(home, 'sleep(100000)'), '--interpreter', 'none', '--name', 'noting');
        await until(() => times(home, '+').length === 1);
        const found = [];
        for (let i = 0; i < 8; i += 1) {
          const begin = Date.now() * 1e6;
          home.run('restart', 'noting');
          await until(() => times(home, '+').length === i + 2);
          found.push((times(home, '+').at(-1) - begin) / 1e6);
        }
        return found;
      }),
  },
  {
    id: 'crash',
    what: 'last instruction → first of the next process',
    unit: 'ms',
    target: '1 ms',
    rounds: 2,
    measure: (side) =>
      side.home(async (home) => {
        home.run('start', noting(home, ''), '--interpreter', 'none', '--name', 'crash', '--max-restarts', '60');
        await until(() => times(home, '-').length >= 50);
        home.run('delete', 'crash');
        const ends = times(home, '-');
        return times(home, '+').slice(1, 50).map((start, i) => (start - ends[i]) / 1e6);
      }),
  },
  {
    id: 'death',
    what: 'kill -9 of the daemon → the next one answers, 100 processes',
    unit: 'ms',
    target: '100 ms',
    alone: true,
    rounds: 1,
    measure: (side) =>
      withHundred(side, async (home) => {
        const found = [];
        for (let i = 0; i < 5; i += 1) {
          const daemon = Number(read(home.file('pm2.pid')));
          const begin = performance.now();
          process.kill(daemon, 'SIGKILL');
          home.run('jlist'); // its socket never closed: the call waits for the next daemon
          found.push(performance.now() - begin);
          // Deaths in quick succession are answered ever later, on purpose.
          await new Promise((resolve) => setTimeout(resolve, 2000));
        }
        return found;
      }),
  },
  {
    id: 'bulk',
    what: 'output → log file, 64 KiB writes',
    unit: 'MB/s',
    target: '1000 MB/s',
    more: true,
    rounds: 3,
    measure: throughput(512, 65536),
  },
  {
    id: 'lines',
    what: 'output → log file, 100-byte writes',
    unit: 'MB/s',
    target: 'as fast as the writer',
    more: true,
    rounds: 2,
    measure: throughput(64, 100),
  },
  {
    id: 'dated',
    what: 'output → log file with a date prefix',
    unit: 'MB/s',
    target: '400 MB/s',
    more: true,
    rounds: 2,
    measure: throughput(128, 65536, ['--time']),
  },
  {
    id: 'supervisord-bulk',
    what: 'output → log file, 64 KiB writes, beside supervisord',
    unit: 'MB/s',
    target: '1000 MB/s',
    more: true,
    rounds: 3,
    peer: supervisord,
    measure: throughput(512, 65536),
  },
  {
    id: 'supervisord-lines',
    what: 'output → log file, 100-byte writes, beside supervisord',
    unit: 'MB/s',
    target: 'as fast as the writer',
    more: true,
    rounds: 2,
    peer: supervisord,
    measure: throughput(64, 100),
  },
  {
    id: 'idle',
    what: 'idle CPU of the manager, 100 processes',
    unit: '% of a core',
    target: '0.1 wake-ups a second',
    rounds: 1,
    measure: (side) =>
      withHundred(side, async (home) => [await cpuOf(home.managers(), 15)]),
  },
  {
    id: 'linked-cpu',
    what: 'linked, 100 processes at 1 Hz: CPU above the unlinked daemon',
    unit: '% of a core',
    target: '0.5 %',
    rounds: 2,
    measure: (side) => linked(side, (home) => cpuOf(home.managers(), 15)),
  },
  {
    id: 'linked-memory',
    what: 'linked, 100 processes: memory (PSS) above the unlinked daemon',
    unit: 'MB',
    target: '12 MB',
    rounds: 1,
    measure: (side) => linked(side, (home) => home.managers().reduce((sum, pid) => sum + pss(pid), 0)),
  },
  ...clusterRows,
  ...preloadRows,
  ...fleetRows,
  {
    id: 'ingest',
    what: 'hub store: samples a second of CPU, durable before acknowledged',
    unit: 'k/s',
    target: '2000 k/s a core',
    alone: true,
    more: true,
    rounds: 1,
    measure: () => [history(/(\d+) a second of CPU/) / 1000],
  },
  {
    id: 'sample-size',
    what: 'hub store: bytes a sample on disk',
    unit: 'bytes',
    target: '0.6 bytes',
    alone: true,
    rounds: 1,
    measure: () => [history(/([\d.]+) bytes a sample/)],
  },
  {
    id: 'query',
    what: 'hub store: one series, 24 h in 500 points, median',
    unit: 'ms',
    target: '1 ms',
    alone: true,
    rounds: 1,
    measure: () => [history(/24 h in 500 points: ([\d.]+)(µs|ms)/)],
  },
  {
    id: 'first-load',
    what: 'dashboard: JavaScript, styles and page of the first load, gzip',
    unit: 'KB',
    target: '120 KB',
    alone: true,
    rounds: 1,
    measure: () => [firstLoad()],
  },
];

/** Links a home with 100 processes to a hub, lets it settle, and measures what is more than before. */
function linked(side, measure) {
  return withHub((hub) =>
    withHundred(side, async (home) => {
      const before = await measure(home);
      home.run('link', hub.secret_key, hub.public_key, 'bench', '--info-node', hub.url);
      await hub.shows(100);
      await new Promise((resolve) => setTimeout(resolve, 3000));
      return [(await measure(home)) - before];
    }),
  );
}

/** CPU of some processes over `seconds`, in percent of a core. */
async function cpuOf(pids, seconds) {
  const used = () => pids.reduce((sum, pid) => sum + cpuSeconds(pid), 0);
  const before = used();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  return ((used() - before) / seconds) * 100 + 0.001;
}

let historyText = '';

/** A figure of the hub's own example that fills a store with an hour of 20 servers; it runs once for all rows. */
function history(pattern) {
  historyText ||= execFileSync(process.env.HISTORY_BIN ?? '../target/release/examples/history', { encoding: 'utf8' });
  const [, value, unit] = pattern.exec(historyText) ?? [];
  return Number(value) / (unit === 'µs' ? 1000 : 1);
}

/** What a browser fetches before the first page stands: the page, and what it names. */
function firstLoad() {
  const dist = path.join(import.meta.dirname, '../web/dist');
  const page = read(path.join(dist, 'index.html'));
  const named = readdirSync(path.join(dist, 'assets')).filter((name) => page.includes(name));
  const files = [path.join(dist, 'index.html'), ...named.map((name) => path.join(dist, 'assets', name))];
  const size = (file) => statSync(`${file}.gz`, { throwIfNoEntry: false })?.size ?? statSync(file).size;
  return files.reduce((sum, file) => sum + size(file), 0) / 1000;
}
