// Versions of PM2 and Node, and what an update does to a link: S42 and S44 of the product's list.
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { ours, pm2Agents, test } from '../lib/agents.ts';
import { hasReleases, oldestPm2, realNode, runBy } from '../lib/apps.ts';
import { Bucket } from '../lib/bucket.ts';
import { Hub } from '../lib/hub.ts';
import type { Manager } from '../lib/manager.ts';
import { processesWith } from '../lib/scratch.ts';
import { apps, realPm2 } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let hub: Hub;
beforeAll(async () => {
  hub = await Hub.start();
});
afterAll(() => hub?.dispose());

const app = (name: string) => path.join(apps, name);
const onReleases = test.runIf(hasReleases);

/** Titles of the processes of a home. */
const titles = (pm: Manager) =>
  processesWith(`PM2_HOME=${pm.home}`).map((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
    } catch {
      return ''; // gone meanwhile
    }
  });

onReleases(
  'S42: a Node below the floor of its PM2 is refused in the terminal and in agent.log, and so said on the server',
  async ({ manager }) => {
    const bucket = await Bucket.make(hub);
    const pm = manager(ours.program);
    await pm.ok('start', app('es5.js'), '--name', 'web');
    await bucket.link(pm, 'box');
    await bucket.server('box', (server) => server.online);
    const stored = pm.file('agent.json5');

    const old = { PATH: `${realNode('0.10')}:${process.env.PATH}` };
    await pm.with(pm.program, ['restart', 'web', '--update-env'], { env: old });
    await until('the app runs with it', () => pm.file('logs/web-out.log').includes('runs v0.10.48'));
    expect((await pm.app('web')).pm2_env).toMatchObject({ node_version: '0.10.48', status: 'online' });
    const needs = 'PM2 7.0.4 needs Node.js 4 or newer, and apps here run with 0.10.48';
    const refused = await bucket.link(pm, 'box');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(`The hub refused this link: ${needs}`);
    expect(refused.stderr).toContain('install a newer Node.js');
    expect(pm.file('agent.log')).toContain(needs);
    expect(pm.file('agent.json5'), 'nothing was changed').toBe(stored);
    const shown = await bucket.server('box', (server) => server.versions.node === '0.10.48');
    expect(shown.failure?.text).toContain(needs);

    await pm.with(pm.program, ['restart', 'web', '--update-env'], { env: { PATH: process.env.PATH ?? '' } });
    await until(
      'the app runs with another',
      async () => (await pm.app('web')).pm2_env.node_version === process.versions.node,
    );
    expect((await bucket.link(pm, 'box')).code).toBe(0);
    expect((await bucket.server('box', (server) => server.online)).id).toBe(shown.id);
  },
);

test('S42: an unmodified agent below the floor is shown with its Node, and refused when it introduces itself again', async ({
  manager,
}) => {
  const bucket = await Bucket.make(hub);
  const pm = manager(realPm2);
  // The real agent, in a Node that calls itself another.
  const disguise = path.join(pm.dir, 'disguise.cjs');
  writeFileSync(
    disguise,
    `if (/InteractorDaemon/.test(process.argv[1])) Object.defineProperty(process, 'version', { value: 'v0.10.48' });`,
  );
  const env = { NODE_OPTIONS: `--require ${disguise}` };
  const words = ['link', bucket.secretKey, bucket.publicKey, 'box', '--info-node', hub.facts.url];
  expect((await pm.with(pm.program, words, { env })).code).toBe(0);
  await bucket.server('box', (server) => server.online && server.versions.node === 'v0.10.48');
  const { code, stdout, stderr } = await pm.with(pm.program, words, { env });
  expect(stdout + stderr).toContain('PM2 7.0.4 needs Node.js 4 or newer, and apps here run with 0.10.48');
  expect(code).toBe(1);
});

describe.each(pm2Agents)('$kind', ({ program }) => {
  onReleases(
    'S42: a Node below the floor cannot even read it: no agent, no log of one, no server',
    async ({ manager }) => {
      const bucket = await Bucket.make(hub);
      const pm = manager(program);
      const old = runBy('0.10', program.path);
      const words = ['link', bucket.secretKey, bucket.publicKey, 'box', '--info-node', hub.facts.url];
      const { code, stderr } = await pm.with(old, words);
      expect(code).not.toBe(0);
      expect(stderr).toContain('SyntaxError');
      expect(existsSync(path.join(pm.home, 'agent.log'))).toBe(false);
      expect(titles(pm)).toEqual([]);
      expect((await bucket.look()).servers).toEqual([]);
    },
  );
});

onReleases(
  'S42 S43: the oldest pm2 whose agent has one socket, by a Node of its time',
  async ({ manager }) => {
    const bucket = await Bucket.make(hub);
    const pm = manager(oldestPm2());
    await pm.ok('start', app('talker.js'), '--name', 'talker');
    await pm.ok('link', bucket.secretKey, bucket.publicKey, 'box', '--info-node', hub.facts.url);
    const before = await bucket.server('box', ({ processes }) => processes[0]?.status === 'online');
    expect(before).toMatchObject({
      agent: 'pm2',
      reverse: true,
      versions: { pm2: '3.2.9', node: 'v12.22.12' },
    });
    const told = await bucket.act(before, { action: 'restart', app: 'talker' });
    expect(told.at(-1)).toMatchObject({ ok: true });
    const [pid] = before.processes.map((process) => process.pid);
    await bucket.server('box', ({ processes }) => (processes[0]?.pid ?? pid) !== pid);
  },
);

test('S44: update keeps processes and link: the same name, the same server, back after the apps', async ({
  manager,
}) => {
  const bucket = await Bucket.make(hub);
  const pm = manager(ours.program);
  await pm.ok('start', app('prints.js'), '--name', 'web');
  await bucket.link(pm, 'box');
  const before = await bucket.server('box', (server) => server.processes.length === 1);
  const folder = path.join(pm.dir, 'newer');
  mkdirSync(folder);
  const newer = { path: path.join(folder, 'pilothouse'), node: false };
  copyFileSync(pm.program.path, newer.path);
  const daemon = pm.daemonPid();
  expect((await pm.with(newer, ['update'])).code).toBe(0);
  expect(pm.daemonPid()).not.toBe(daemon);
  await until('the new daemon is linked', async () =>
    /Connected +: yes/.test((await pm.ok('link', 'info')).stdout),
  );
  const after = await bucket.server('box', (server) => server.online && server.reverse);
  expect([after.id, after.processes.map((p) => p.pid)]).toEqual([
    before.id,
    before.processes.map((p) => p.pid),
  ]);
  expect((await bucket.look()).servers).toHaveLength(1);
  const { body } = await bucket.api('POST', `/servers/${after.id}/actions`, {
    action: 'restart',
    app: 'web',
  });
  expect(body).toMatchObject({ ok: true });
});

describe.each(pm2Agents.slice(1))('$kind', ({ short, program }) => {
  test('S44: update takes over from a linked original: our agent has its keys, its name and its server', async ({
    manager,
  }) => {
    const bucket = await Bucket.make(hub);
    const pm = manager(ours.program);
    const keys = [bucket.secretKey, bucket.publicKey, short, '--info-node', hub.facts.url];
    for (const words of [
      ['start', app('prints.js'), '--name', 'web'],
      ['link', ...keys],
    ])
      expect((await pm.with(program, words)).code).toBe(0);
    const before = await bucket.server(short, (server) => server.online && server.processes.length === 1);
    expect(before.agent).toBe('pm2');
    const { code, stdout, stderr } = await pm.run('update');
    expect(`${code} ${stdout}\n${stderr}`).toMatch(/^0 /);
    expect(stdout).toContain('Agent of node PM2 stopped');
    const after = await bucket.server(
      short,
      (server) => server.agent === 'pilothouse' && server.online && server.processes[0]?.status === 'online',
    );
    expect([after.id, after.reverse]).toEqual([before.id, true]);
    expect((await bucket.look()).servers).toHaveLength(1);
    expect(
      titles(pm).filter((title) => title.startsWith('PM2 Agent')),
      'theirs is gone, and brings nothing back',
    ).toEqual([]);
    const info = await pm.ok('link', 'info');
    expect(info.stdout).toMatch(/Connected +: yes/);
  });
});
