// Every attribute of an app, from a file and from the command line: what the list says of it. The table was taken from the original and
// is held against both. Nothing is run: the apps are entered and not started.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Listed, Manager } from '../lib/manager.ts';

type Attributes = Record<string, unknown>;

/** What a file says, and what the list says then; `undefined`: nothing. `<dir>` is the folder of the scripts. */
const FILE: [label: string, said: Attributes, listed: Attributes][] = [
  ['name from the script', {}, { name: 'app' }],
  ['name', { name: 'given' }, { name: 'given' }],
  ['exec', { exec: '<dir>/app.js' }, { pm_exec_path: '<dir>/app.js' }],
  ['cmd', { cmd: '<dir>/app.js' }, { pm_exec_path: '<dir>/app.js' }],
  ['command', { command: '<dir>/app.js' }, { pm_exec_path: '<dir>/app.js' }],
  ['namespace', { namespace: 'blue' }, { namespace: 'blue' }],
  ['args as text', { args: '-p 80 --name="a b" \'c d\'' }, { args: ['-p', '80', '--name="a b"', 'c d'] }],
  ['args as list', { args: ['-p', 80, 'a b'] }, { args: ['-p', 80, 'a b'] }],
  ['cwd', { cwd: '/tmp' }, { pm_cwd: '/tmp' }],
  ['exec_interpreter', { exec_interpreter: 'bash' }, { exec_interpreter: 'bash' }],
  ['interpreter', { interpreter: 'bash' }, { exec_interpreter: 'bash' }],
  [
    'interpreter none',
    { script: '/bin/sleep', interpreter: 'none' },
    { exec_interpreter: 'none', pm_exec_path: '/bin/sleep' },
  ],
  [
    'a program of PATH',
    { script: 'sleep', args: '100' },
    { exec_interpreter: 'none', pm_exec_path: expect.stringMatching(/\/sleep$/), args: ['100'] },
  ],
  [
    'a command line',
    { script: 'sleep 100; true' },
    { args: ['-c', 'sleep 100; true'], exec_interpreter: 'none', name: 'sleep 100; true' },
  ],
  [
    'python',
    { script: '<dir>/app.py' },
    { exec_interpreter: expect.stringMatching(/^python3?$/), PYTHONUNBUFFERED: '1' },
  ],
  ['shell', { script: '<dir>/app.sh' }, { exec_interpreter: 'bash' }],
  ['perl', { script: '<dir>/app.pl' }, { exec_interpreter: 'perl' }],
  ['text without extension', { script: '<dir>/plain' }, { exec_interpreter: expect.stringMatching(/node$/) }],
  [
    'node_args text',
    { node_args: '--harmony --max-old-space-size=100' },
    { node_args: ['--harmony', '--max-old-space-size=100'] },
  ],
  ['node_args list', { node_args: ['--harmony'] }, { node_args: ['--harmony'] }],
  ['interpreterArgs', { interpreterArgs: '--harmony' }, { node_args: ['--harmony'] }],
  ['interpreter_args', { interpreter_args: ['--harmony'] }, { node_args: ['--harmony'] }],
  ['exec_mode fork', { exec_mode: 'fork' }, { exec_mode: 'fork_mode' }],
  [
    'exec_mode cluster',
    { exec_mode: 'cluster' },
    { exec_mode: 'cluster_mode', merge_logs: undefined, instances: 1 },
  ],
  ['exec_mode cluster_mode', { exec_mode: 'cluster_mode' }, { exec_mode: 'cluster_mode' }],
  ['instances', { instances: 1 }, { exec_mode: 'cluster_mode', instances: 1, merge_logs: undefined }],
  ['instances as text', { instances: '1' }, { exec_mode: 'cluster_mode', instances: 1 }],
  [
    'instances of another interpreter',
    { script: '<dir>/app.py', instances: 1 },
    { exec_mode: 'fork_mode', instances: 1 },
  ],
  ['instances far below zero', { instances: -100 }, { instances: 1 }],
  ['out_file', { out_file: '<dir>/l/o.log' }, { pm_out_log_path: '<dir>/l/o.log' }],
  ['out', { out: '<dir>/l/o.log' }, { pm_out_log_path: '<dir>/l/o.log' }],
  ['output', { output: '<dir>/l/o.log' }, { pm_out_log_path: '<dir>/l/o.log' }],
  ['out_log', { out_log: '<dir>/l/o.log' }, { pm_out_log_path: '<dir>/l/o.log' }],
  ['out_file null', { out_file: '/dev/null' }, { pm_out_log_path: '/dev/null' }],
  ['out_file NULL', { out_file: 'NULL' }, { pm_out_log_path: '/dev/null' }],
  ['error_file', { error_file: '<dir>/l/e.log' }, { pm_err_log_path: '<dir>/l/e.log' }],
  ['error', { error: '<dir>/l/e.log' }, { pm_err_log_path: '<dir>/l/e.log' }],
  ['err', { err: '<dir>/l/e.log' }, { pm_err_log_path: '<dir>/l/e.log' }],
  ['err_file', { err_file: '<dir>/l/e.log' }, { pm_err_log_path: '<dir>/l/e.log' }],
  ['err_log', { err_log: '<dir>/l/e.log' }, { pm_err_log_path: '<dir>/l/e.log' }],
  ['log_file', { log_file: '<dir>/l/a.log' }, { pm_log_path: '<dir>/l/a.log' }],
  ['log', { log: '<dir>/l/a.log' }, { pm_log_path: '<dir>/l/a.log' }],
  ['merge_logs false', { merge_logs: false, out_file: '<dir>/l/o.log' }, { merge_logs: undefined }],
  ['merge_logs', { merge_logs: true, instances: 1 }, { merge_logs: true }],
  ['combine_logs', { combine_logs: true, instances: 1 }, { merge_logs: true }],
  ['disable_logs', { disable_logs: true }, { disable_logs: true }],
  ['log_type', { log_type: 'json' }, { log_type: 'json' }],
  ['log_date_format', { log_date_format: 'YYYY' }, { log_date_format: 'YYYY' }],
  ['time', { time: true }, { log_date_format: 'YYYY-MM-DDTHH:mm:ss', time: true }],
  [
    'time and format',
    { time: true, log_date_format: 'HH' },
    { log_date_format: 'YYYY-MM-DDTHH:mm:ss', time: true },
  ],
  [
    'env',
    { env: { A: '1', B: 2, C: true, D: { e: 1 }, F: null } },
    { A: '1', B: 2, C: true, D: '{"e":1}', F: 'null' },
  ],
  ['port', { port: 3000 }, { PORT: 3000 }],
  [
    'filter_env list',
    { filter_env: ['SECRET'] },
    { filter_env: ['SECRET'], MY_SECRET: undefined, OTHER: 'o' },
  ],
  [
    'filter_env text',
    { filter_env: 'MY_SECRET' },
    { filter_env: 'MY_SECRET', MY_SECRET: undefined, OTHER: 'o' },
  ],
  ['max_memory_restart text', { max_memory_restart: '10M' }, { max_memory_restart: 10485760 }],
  ['max_memory_restart G', { max_memory_restart: '1G' }, { max_memory_restart: 1073741824 }],
  ['max_memory_restart K', { max_memory_restart: '100K' }, { max_memory_restart: 102400 }],
  ['max_memory_restart number', { max_memory_restart: 1000 }, { max_memory_restart: 1000 }],
  ['max_memory_restart digits', { max_memory_restart: '1000' }, { max_memory_restart: 1000 }],
  ['restart_delay', { restart_delay: 100 }, { restart_delay: 100 }],
  ['restart_delay text', { restart_delay: '100' }, { restart_delay: 100 }],
  ['exp_backoff_restart_delay', { exp_backoff_restart_delay: 100 }, { exp_backoff_restart_delay: 100 }],
  ['min_uptime', { min_uptime: 2000 }, { min_uptime: 2000 }],
  ['min_uptime s', { min_uptime: '5s' }, { min_uptime: 5000 }],
  ['min_uptime m', { min_uptime: '2m' }, { min_uptime: 120000 }],
  ['min_uptime h', { min_uptime: '1h' }, { min_uptime: 3600000 }],
  ['max_restarts', { max_restarts: 3 }, { max_restarts: 3 }],
  ['max_restarts 0', { max_restarts: 0 }, { max_restarts: undefined }],
  ['autorestart', { autorestart: false }, { autorestart: false }],
  ['stop_exit_codes', { stop_exit_codes: [0, '1'] }, { stop_exit_codes: [0, '1'] }],
  ['stop_exit_codes number', { stop_exit_codes: 3 }, { stop_exit_codes: 3 }],
  ['kill_timeout', { kill_timeout: 100 }, { kill_timeout: 100 }],
  ['kill_retry_time', { kill_retry_time: 50 }, { kill_retry_time: 50 }],
  ['shutdown_with_message', { shutdown_with_message: true }, { shutdown_with_message: true }],
  ['treekill', { treekill: false }, { treekill: false }],
  ['wait_ready', { wait_ready: true }, { wait_ready: true }],
  ['listen_timeout', { listen_timeout: 100 }, { listen_timeout: 100 }],
  ['cron_restart', { cron_restart: '0 0 29 2 *' }, { cron_restart: '0 0 29 2 *' }],
  ['cron', { cron: '0 0 29 2 *' }, { cron_restart: '0 0 29 2 *' }],
  ['watch paths', { watch: ['nowhere'], cwd: '<dir>' }, { watch: ['nowhere'] }],
  ['watch text', { watch: 'nowhere', cwd: '<dir>' }, { watch: 'nowhere' }],
  ['ignore_watch text', { ignore_watch: 'a b' }, { ignore_watch: ['a', 'b'] }],
  ['ignore_watch list', { ignore_watch: ['a', 'b'] }, { ignore_watch: ['a', 'b'] }],
  ['watch_delay', { watch_delay: 100 }, { watch_delay: 100 }],
  ['watch_options', { watch_options: { usePolling: true } }, { watch_options: { usePolling: true } }],
  ['source_map_support', { source_map_support: true }, { source_map_support: true }],
  ['disable_source_map_support', { disable_source_map_support: true }, { disable_source_map_support: true }],
  ['vizion', { vizion: false }, { vizion: false }],
  ['post_update', { post_update: ['true'] }, { post_update: ['true'] }],
  ['pmx', { pmx: false }, { pmx: false }],
  ['automation', { automation: false }, { automation: false, pmx: false }],
  ['io', { io: { conf: { a: 1 } } }, { io: '{"conf":{"a":1}}' }],
  ['disable_trace', { disable_trace: true }, { trace: false, disable_trace: undefined }],
  ['v8', { v8: true }, { v8: true }],
  ['event_loop_inspector', { event_loop_inspector: true }, { event_loop_inspector: true }],
  [
    'instance_var',
    { instance_var: 'WORKER' },
    { instance_var: 'WORKER', WORKER: 0, NODE_APP_INSTANCE: undefined },
  ],
  ['increment_var', { increment_var: 'PORT', env: { PORT: 3000 } }, { increment_var: 'PORT', PORT: 3000 }],
  ['windowsHide', { windowsHide: false }, { windowsHide: false }],
  ['force', { force: true }, { force: true }],
  ['unknown attributes', { colour: 'red' }, { colour: undefined }],
  [
    'execute_command',
    { execute_command: true, instances: 1 },
    { exec_mode: 'fork_mode', execute_command: undefined },
  ],
  [
    'defaults',
    {},
    {
      vizion: true,
      autorestart: true,
      pmx: true,
      automation: true,
      treekill: true,
      windowsHide: true,
      instance_var: 'NODE_APP_INSTANCE',
      kill_retry_time: 100,

      node_args: [],
      instances: 1,
      exec_mode: 'fork_mode',
      exec_interpreter: 'node',
      merge_logs: true,
      watch: undefined,
      km_link: false,
    },
  ],
  [
    'camelCase',
    {
      maxMemoryRestart: '20M',
      killTimeout: 70,
      restartDelay: 5,
      minUptime: 700,
      maxRestarts: 4,
      waitReady: true,
      listenTimeout: 60,
      logDateFormat: 'YY',
      execInterpreter: 'bash',
      ignoreWatch: ['x'],
      stopExitCodes: [2],
      cronRestart: '0 0 29 2 *',
      expBackoffRestartDelay: 9,
      disableLogs: true,
      logType: 'json',
      shutdownWithMessage: true,
    },
    {
      max_memory_restart: 20971520,
      kill_timeout: 70,
      restart_delay: 5,
      min_uptime: 700,
      max_restarts: 4,
      wait_ready: true,
      listen_timeout: 60,
      log_date_format: 'YY',
      exec_interpreter: 'bash',
      ignore_watch: ['x'],
      stop_exit_codes: 2,
      cron_restart: '0 0 29 2 *',
      exp_backoff_restart_delay: 9,
      disable_logs: true,
      log_type: 'json',
      shutdown_with_message: true,
    },
  ],
];

/** Wrong kinds of values, and the attribute that the complaint names. */
const WRONG: [said: Attributes, named: string][] = [
  [{ name: 5 }, '"name"'],
  [{ args: 5 }, '"args"'],
  [{ out_file: true }, '"out_file"'],
  [{ instances: {} }, '"instances"'],
  [{ kill_timeout: 'soon' }, '"kill_timeout"'],
  [{ wait_ready: 'yes' }, '"wait_ready"'],
  [{ max_memory_restart: '10 potatoes' }, '"max_memory_restart"'],
  [{ min_uptime: 'x' }, '"min_uptime"'],
  [{ min_uptime: 5 }, '"min_uptime"'],
  [{ max_restarts: -1 }, '"max_restarts"'],
  [{ exec_mode: 'both' }, '"exec_mode"'],
  [{ watch_options: 'fast' }, '"watch_options"'],
  [{ post_update: 'true' }, '"post_update"'],
];

/** Options of the command line, and what the list says then. */
const OPTIONS: [label: string, words: string[], listed: Attributes][] = [
  [
    'numbers and switches',
    '--namespace blue --max-memory-restart 10M --restart-delay 100 --exp-backoff-restart-delay 9 --kill-timeout 70 --listen-timeout 60 --max-restarts 4 --watch-delay 2 --shutdown-with-message --wait-ready --merge-logs --time --log-type json --disable-logs'.split(
      ' ',
    ),
    {
      namespace: 'blue',
      max_memory_restart: 10485760,
      restart_delay: 100,
      exp_backoff_restart_delay: 9,
      kill_timeout: 70,
      listen_timeout: 60,
      max_restarts: 4,
      watch_delay: 2000,
      shutdown_with_message: true,
      wait_ready: true,
      merge_logs: true,
      log_date_format: 'YYYY-MM-DDTHH:mm:ss',
      log_type: 'json',
      disable_logs: true,
      filter_env: [],
    },
  ],
  [
    'what is switched off',
    '--no-vizion --no-autorestart --no-treekill --no-pmx --no-automation --disable-source-map-support'.split(
      ' ',
    ),
    {
      vizion: false,
      autorestart: false,
      treekill: false,
      pmx: false,
      automation: false,
      disable_source_map_support: true,
    },
  ],
  [
    'paths, lists and words',
    [
      ...'-o <dir>/o.log -e <dir>/e.log -l <dir>/a.log --cwd <dir> --interpreter bash --ignore-watch x'.split(
        ' ',
      ),
      '--interpreter-args',
      '-e -u',
      '--stop-exit-codes',
      '3',
      '--filter-env',
      'SECRET',
      '--log-date-format',
      'YYYY MM',
      '--cron',
      '0 0 29 2 *',
      '--',
      '-p',
      '80',
      'a b',
    ],
    {
      pm_out_log_path: '<dir>/o.log',
      pm_err_log_path: '<dir>/e.log',
      pm_log_path: '<dir>/a.log',
      pm_cwd: '<dir>',
      exec_interpreter: 'bash',
      node_args: ['-e', '-u'],
      ignore_watch: ['x'],
      filter_env: ['SECRET'],
      MY_SECRET: undefined,
      log_date_format: 'YYYY MM',
      cron_restart: '0 0 29 2 *',
      args: ['-p', '80', 'a b'],
    },
  ],
  ['instances of a Node app', ['-i', '1'], { instances: 1, exec_mode: 'cluster_mode' }],
  ['instances far below zero', ['-i', '-100'], { instances: 1 }],
  ['-x', ['-i', '1', '-x'], { exec_mode: 'fork_mode' }],
];

let pm: Manager;
let dir: string;
/** The same with the real folder. */
const real = <T>(value: T): T => {
  if (typeof value === 'string') return value.replaceAll('<dir>', dir) as T;
  if (Array.isArray(value)) return value.map(real) as T;
  if (value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, real(inner)])) as T;
  }
  return value;
};
const write = (name: string, text: string) => {
  const file = path.join(dir, name);
  writeFileSync(file, text);
  return file;
};
/** Only what is asked about, so that `undefined` has to be said. */
const asked = (entry: Listed | undefined, about: Attributes) =>
  Object.fromEntries(Object.keys(about).map((key) => [key, entry?.pm2_env[key]]));

beforeAll(() => {
  pm = new Manager(undefined, { MY_SECRET: 's', OTHER: 'o' });
  dir = path.join(pm.dir, 'app');
  mkdirSync(dir);
  write('app.js', 'setInterval(() => {}, 1000);\n');
  write('plain', 'setInterval(() => {}, 1000);\n');
  for (const ending of ['py', 'sh', 'pl']) write(`app.${ending}`, '\n');
});
afterAll(() => pm.dispose());

describe('from a file', () => {
  let list: Listed[];
  beforeAll(async () => {
    // The namespace tells the cases apart, where the case is not about it. A name is a variable too, so it must be no attribute's.
    const apps = FILE.map(([label, said]) => ({
      ...(['exec', 'cmd', 'command', 'script'].some((key) => key in said) ? {} : { script: '<dir>/app.js' }),
      ...(label === 'name from the script' || label === 'a command line' ? {} : { name: `app ${label}` }),
      autostart: false,
      namespace: label,
      ...said,
    }));
    await pm.ok('start', write('apps.json', JSON.stringify(real({ apps }))));
    list = await pm.list();
  });

  test.each(FILE)('%s', (label, said, listed) => {
    const entry = list.find((p) => p.pm2_env.namespace === (said.namespace ?? label));
    expect(asked(entry, listed)).toEqual(real(listed));
  });

  test('a bare app has what PM2 fills in', () => {
    const entry = list.find((p) => p.pm2_env.namespace === 'defaults');
    expect(entry?.pm2_env).toMatchObject({ autostart: false, status: 'stopped', restart_time: 0 });
  });
});

describe('wrong kinds', () => {
  test.each(WRONG)('%j', async (said, named) => {
    const file = write('wrong.json', JSON.stringify({ apps: [{ script: 'app.js', cwd: dir, ...said }] }));
    const { code, stdout, stderr } = await pm.run('start', file);
    expect(code).toBe(1);
    expect(stdout + stderr).toContain(named);
  });
});

describe('from the command line', () => {
  test.each(OPTIONS)('%s', async (label, words, listed) => {
    const [options, rest] = words.includes('--')
      ? [words.slice(0, words.indexOf('--')), words.slice(words.indexOf('--'))]
      : [words, []];
    await pm.ok(
      'start',
      path.join(dir, 'app.js'),
      '-f',
      '--no-autostart',
      '-n',
      label,
      ...real(options),
      ...rest,
    );
    expect(asked(await pm.app(label), listed)).toEqual(real(listed));
  });
});
