// Main modules that cannot be loaded. The original loads ES modules by import(), so that their failure is a rejection: told, and no end
// of the process. Ours does so too, but lets no such process pass for one that works.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { clientProgram } from '../lib/client.ts';
import { Manager } from '../lib/manager.ts';
import { freePort } from '../lib/port.ts';
import { root, underTest } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

// Where the packages have binaries of Node for the machine.
const here = process.platform === 'linux' && process.arch === 'x64';
const onlyOurs = test.runIf(underTest === 'ours');

function script(file: string, text: string): string {
  const found = path.join(pm.dir, file);
  writeFileSync(found, text);
  return found;
}

/** Failures of ES modules, and what is told of each. */
const broken: [string, string, RegExp][] = [
  ['an import that is not there', "import './is-not-there.mjs';\n", /ERR_MODULE_NOT_FOUND/],
  ['a mistake in the syntax', 'const a = ;\n', /SyntaxError/],
  ['an exception', "throw new Error('on the way');\n", /on the way/],
  [
    'a rejection, later',
    "await new Promise((_, no) => setTimeout(no, 50, new Error('in the end')));\n",
    /in the end/,
  ],
];
const modes: [string, string[], string][] = [
  ['fork', [], 'out.log'],
  ['cluster', ['-i', '1'], 'out-0.log'],
];

/** What would be ended by then has ended: an app that fails at once, started after it, was given up. */
async function longEnough() {
  await pm.ok('start', script('fails.cjs', 'process.exit(1);\n'), '--max-restarts', '3');
  await pm.status('fails', 'errored');
}

/** Apps that end: as Node has it, and the original. */
const ending: [string, string][] = [
  ['throws.cjs', "throw new Error('on the way');\n"],
  ['mistaken.cjs', 'const a = ;\n'],
  [
    'beside.mjs',
    "setTimeout(() => { throw new Error('beside'); }, 10);\nawait new Promise((ok) => setTimeout(ok, 60_000));\n",
  ],
  // It looks like an ES module, and is none by its name.
  ['import.js', "import './is-not-there.js';\n"],
  ['unheard.mjs', "process.removeAllListeners('unhandledRejection');\nthrow new Error('on the way');\n"],
];

describe.each(modes)('in %s mode', (_mode, options, log) => {
  test('an ES module that cannot be loaded is told, and its process stays online', async () => {
    script('package.json', '{ "type": "module" }');
    const apps = broken.map(([, text, reason], at) => ({ file: `app${at}.mjs`, text, reason }));
    apps.push({
      file: 'ofpackage.js',
      text: "import './is-not-there.js';\n",
      reason: /ERR_MODULE_NOT_FOUND/,
    });
    await pm.ok('start', ...apps.map(({ file, text }) => script(file, text)), ...options);
    for (const { file, reason } of apps) {
      const log = (await pm.app(file.split('.')[0] ?? '')).pm2_env.pm_err_log_path;
      await until(`${file}: the reason is in the log`, () => reason.test(readFileSync(log, 'utf8')));
    }
    await longEnough();
    const list = await pm.list();
    for (const { file } of apps) {
      const found = list.find(({ name }) => name === file.split('.')[0]);
      expect(found?.pm2_env, file).toMatchObject({ status: 'online', restart_time: 0 });
    }
  });

  test('what the app says of rejections and exceptions is heeded', async () => {
    const text = `process.on('uncaughtException', () => console.log('an exception'));
process.on('unhandledRejection', ({ message }, promise) => console.log('a rejection:', message, promise instanceof Promise));
setInterval(() => {}, 1000);
throw new Error('on the way');
`;
    await pm.ok('start', script('heeds.mjs', text), ...options);
    const out = `logs/heeds-${log}`;
    await until('the app is told', () => /a rejection: on the way true/.test(pm.file(out)));
    await longEnough();
    expect(pm.file(out)).not.toContain('an exception');
    expect((await pm.app('heeds')).pm2_env).toMatchObject({ status: 'online', restart_time: 0 });
  });

  test('CommonJS modules that fail, and later exceptions, end the process', async () => {
    await pm.ok(
      'start',
      ...ending.map(([file, text]) => script(file, text)),
      '--max-restarts',
      '2',
      ...options,
    );
    for (const [file] of ending) {
      const { pm2_env } = await pm.status(file.split('.')[0] ?? '', 'errored');
      expect(pm2_env.restart_time, file).toBe(1);
    }
  });

  test('with --unhandled-rejections=strict it ends the process', async () => {
    const idle = script('idle.mjs', "import './is-not-there.mjs';\n");
    const strict = '--node-args=--unhandled-rejections=strict';
    await pm.ok('start', idle, '--max-restarts', '2', strict, ...options);
    expect((await pm.status('idle', 'errored')).pm2_env.restart_time).toBe(1);
  });
});

test('without monitoring it ends the process in fork mode, and not in cluster mode', async () => {
  const idle = script('idle.mjs', "import './is-not-there.mjs';\n");
  await pm.ok('start', idle, '--name', 'fork', '--no-pmx', '--max-restarts', '2');
  await pm.ok('start', idle, '--name', 'cluster', '--no-pmx', '--max-restarts', '2', '-i', '1');
  expect((await pm.status('fork', 'errored')).pm2_env.restart_time).toBe(1);
  expect((await pm.app('cluster')).pm2_env).toMatchObject({ status: 'online', restart_time: 0 });
});

test.runIf(here)(
  'what Node is to load before the app ends the process, and does not hide what the app cannot load',
  async () => {
    // Older ones do not tell which of them has failed.
    const interpreter = path.join(root, 'e2e/nodes/node_modules/node-24/bin/node');
    const before = script('before.mjs', '');
    const idle = script('idle.mjs', "import './is-not-there.mjs';\n");
    const works = script('works.mjs', 'setInterval(() => {}, 1000);\n');
    const start = (file: string, name: string, first: string) =>
      pm.ok(
        'start',
        file,
        '--name',
        name,
        '--interpreter',
        interpreter,
        '--max-restarts',
        '2',
        `--node-args=--import ${first}`,
      );
    await start(works, 'blocked', path.join(pm.dir, 'is-not-there.mjs'));
    expect((await pm.status('blocked', 'errored')).pm2_env.restart_time).toBe(1);
    await start(works, 'works', before);
    await start(idle, 'idle', before);
    await until('the reason is in the log', () =>
      /ERR_MODULE_NOT_FOUND/.test(pm.file('logs/idle-error.log')),
    );
    await longEnough();
    for (const name of ['works', 'idle']) {
      expect((await pm.app(name)).pm2_env, name).toMatchObject({ status: 'online', restart_time: 0 });
    }
  },
);

test('the bus hears of it as of any error', async () => {
  const idle = script('idle.mjs', "import './is-not-there.mjs';\n");
  const { message } = await clientProgram(
    pm,
    `const bus = await call('launchBus');
const told = new Promise((ok) => bus.on('process:exception', (packet) => ok(packet)));
await call('start', { script: ${JSON.stringify(idle)} });
const { process, data } = await told;
return { message: process.name + ': ' + data.message };`,
  );
  expect(message).toMatch(/^idle: Cannot find module .*is-not-there\.mjs/);
});

describe('releases of Node', () => {
  test.runIf(here).each([18, 22, 24, 26])('Node %i', async (release) => {
    const interpreter = path.join(root, `e2e/nodes/node_modules/node-${release}/bin/node`);
    expect(existsSync(interpreter), 'run `npm ci` in e2e/nodes first').toBe(true);
    const scripts = broken.map(([, text], at) => script(`idle${at}.mjs`, text));
    await pm.ok('start', ...scripts, '--interpreter', interpreter);
    for (const [at, [, , reason]] of broken.entries()) {
      await until('the reason is in the log', () => reason.test(pm.file(`logs/idle${at}-error.log`)));
    }
    await pm.ok(
      'start',
      script('fails.mjs', "setTimeout(() => { throw new Error('beside'); }, 10);\n"),
      '--max-restarts',
      '2',
      '--interpreter',
      interpreter,
    );
    await pm.status('fails', 'errored');
    for (const at of broken.keys()) {
      expect((await pm.app(`idle${at}`)).pm2_env).toMatchObject({ status: 'online', restart_time: 0 });
    }
  });
});

describe('what cannot be loaded does not pass for what works', () => {
  const server = (port: number) => `import { createServer } from 'node:http';
createServer((_, answer) => answer.end('as before')).listen(${port});
`;

  onlyOurs('a reload to it is undone at once, with the reason', async () => {
    const port = await freePort();
    const app = script('web.mjs', server(port));
    await pm.ok('start', app, '-i', '2', '--listen-timeout', '50000');
    const answer = () => fetch(`http://127.0.0.1:${port}`).then((found) => found.text());
    await until('it serves', async () => (await answer()) === 'as before');
    const pids = (await pm.list()).map(({ pid }) => pid);
    script('web.mjs', "import './is-not-there.mjs';\n");
    const { code, stdout, stderr } = await pm.run('reload', 'web');
    expect(code).toBe(1);
    expect(stdout + stderr).toMatch(
      /its new instance could not load its main module \(.*is-not-there\.mjs.*\); the former one serves on/,
    );
    await until('the new ones are gone', async () => !/\bstopping\b/.test((await pm.ok('list')).stdout));
    const list = await pm.list();
    expect(list.map(({ pid }) => pid)).toEqual(pids);
    for (const { pm2_env } of list) {
      expect(pm2_env).toMatchObject({ status: 'online', restart_time: 0 });
      expect(pm2_env.load_error).toBeUndefined();
    }
    expect(await answer()).toBe('as before');
    expect(pm.file('pm2.log')).toMatch(/the reload failed, its new instance could not load its main module/);

    script('web.mjs', server(port));
    await pm.ok('reload', 'web');
    const after = await pm.list();
    expect(after.filter(({ pid }) => pids.includes(pid))).toEqual([]);
  });

  onlyOurs('--wait fails at once, of start, restart and reload', async () => {
    const app = script('idle.mjs', "import './is-not-there.mjs';\n");
    for (const verb of ['start', 'restart', 'reload']) {
      for (const [name, ...options] of [
        ['fork', '--wait-ready'],
        ['cluster', '-i', '1'],
      ]) {
        const target = verb === 'start' ? app : String(name);
        const line = [verb, target, '--listen-timeout', '50000', '--wait', '--wait-timeout', '50'];
        const start = verb === 'start' ? ['--name', String(name), ...options] : [];
        const { code, stderr } = await pm.run(...line, ...start);
        expect(code).toBe(1);
        expect(stderr).toMatch(/main module .*is-not-there\.mjs/);
      }
    }
  });

  onlyOurs('list, describe, jlist and doctor say so, and only while it is so', async () => {
    const app = script('idle.mjs', "import './is-not-there.mjs';\n");
    await pm.ok('start', app);
    const reason = /main module could not be loaded: .*is-not-there\.mjs/;
    await until('the list warns', async () => reason.test((await pm.run('list')).stderr));
    expect((await pm.ok('describe', 'idle')).stdout).toMatch(
      /does nothing .*main module could not be loaded/,
    );
    expect((await pm.run('doctor')).stdout).toMatch(reason);
    expect((await pm.app('idle')).pm2_env.load_error).toMatch(/^Error \[ERR_MODULE_NOT_FOUND\]: Cannot find/);
    await pm.ok('save');
    expect(pm.file('dump.pm2')).not.toContain('load_error');

    // A daemon that takes over knows it too.
    const before = pm.daemonPid();
    process.kill(before, 'SIGKILL');
    await until('another daemon', async () => pm.daemonPid() !== before && (await pm.run('ping')).code === 0);
    expect((await pm.app('idle')).pm2_env).toMatchObject({ status: 'online', restart_time: 0 });
    expect((await pm.run('list')).stderr).toMatch(reason);

    script('idle.mjs', 'console.log(process.env.load_error); setInterval(() => {}, 1000);\n');
    await pm.ok('restart', 'idle');
    await until('it works', () => /undefined/.test(pm.file('logs/idle-out.log')));
    expect((await pm.run('list')).stderr).not.toMatch(reason);
    expect((await pm.app('idle')).pm2_env.load_error).toBeUndefined();
  });
});
