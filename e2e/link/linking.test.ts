// Linking, linking again, names and keys: S31 to S36, S53 to S57 and S66 to S73 of the product's list.
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { everyAgent, ours, pm2Agents, test } from '../lib/agents.ts';
import { sleepers } from '../lib/apps.ts';
import { Bucket } from '../lib/bucket.ts';
import { Hub } from '../lib/hub.ts';
import type { Manager } from '../lib/manager.ts';
import { freePort } from '../lib/port.ts';
import { processesWith } from '../lib/scratch.ts';
import { until } from '../lib/until.ts';

let hub: Hub;
beforeAll(async () => {
  hub = await Hub.start();
});
afterAll(() => hub?.dispose());

const stored = (pm: Manager) => JSON.parse(pm.file('agent.json5'));

/** Runs `link` with exactly these words. */
const link = (pm: Manager, words: string[], env: Record<string, string> = {}) =>
  pm.with(pm.program, ['link', ...words, '--info-node', hub.facts.url], { env });

describe.concurrent.each(everyAgent)('$kind', ({ program, ours: isOurs }) => {
  test('S31 S35: link without words links again: one server, one agent, the same history', async ({
    manager,
  }) => {
    const bucket = await Bucket.make(hub);
    const pm = manager(program);
    await sleepers(pm, 'app');
    await bucket.link(pm, 'box');
    const first = await bucket.server('box', (server) => server.processes.length === 1);
    const rounds = isOurs ? 5 : 2;
    for (let n = 0; n < rounds; n++) {
      const { code, stdout } = await pm.run('link');
      expect(code).toBe(0);
      if (isOurs) expect(stdout).toContain('[v] Linked');
    }
    const { servers } = await bucket.look();
    expect(servers.map((server) => [server.id, server.name])).toEqual([[first.id, 'box']]);
    await bucket.server('box', (server) => server.online && server.processes.length === 1);
  });

  test('S72: keys in either order, with a name and without', async ({ manager }) => {
    const bucket = await Bucket.make(hub);
    const [secret, publicKey] = [bucket.secretKey, bucket.publicKey];
    const cases = [
      [secret, publicKey, 'named'],
      [publicKey, secret, 'swapped'],
      [secret, publicKey],
      [publicKey, secret],
    ];
    // PM2's own agents take a while for each; how keys are read does not depend on the name.
    for (const words of isOurs ? cases : cases.slice(1, 2)) {
      const pm = manager(program);
      await pm.ok('ping');
      expect((await link(pm, words)).code).toBe(0);
      await bucket.server(words[2] ?? hostname(), (server) => server.online);
      if (!isOurs) continue;
      await until('the file has the keys in their order', () => {
        const { public_key, secret_key } = stored(pm);
        return public_key === publicKey && secret_key === secret;
      });
      await pm.ok('unlink');
    }
  });

  test('S71: a new name renames the server and keeps its history', async ({ manager }) => {
    const bucket = await Bucket.make(hub);
    const pm = manager(program);
    await sleepers(pm, 'app');
    await bucket.link(pm, 'before');
    const before = await bucket.server('before', (server) => server.processes.length === 1);
    await bucket.link(pm, 'after');
    const after = await bucket.server('after', (server) => server.online);
    expect(after.id).toBe(before.id);
    expect((await bucket.look()).servers).toHaveLength(1);
  });

  test('S53 S54 S67 S68: two of one name stay two, and never mix; other names end the conflict', async ({
    manager,
  }) => {
    const bucket = await Bucket.make(hub);
    const [one, two] = [manager(program), manager(program)];
    await sleepers(one, 'left');
    await sleepers(two, 'right');
    await bucket.link(one, 'same');
    await bucket.server('same', (server) => server.processes.length === 1);
    await bucket.link(two, 'same');
    await until(
      'two servers, each with its process',
      async () => {
        const { servers } = await bucket.look();
        return servers.length === 2 && servers.every(({ processes }) => processes.length === 1);
      },
      { within: 8_000 },
    );
    const pids = new Map<string, Set<string>>();
    let looks = 0;
    const from = Date.now();
    await until('some seconds of looking', async () => {
      for (const server of (await bucket.look()).servers) {
        const seen = pids.get(server.id) ?? new Set();
        pids.set(server.id, seen.add(server.processes.map((p) => `${p.name}:${p.pid}`).join()));
      }
      looks++;
      return looks > 20 && Date.now() - from > 5_000;
    });
    expect(pids.size).toBe(2);
    for (const seen of pids.values()) expect([...seen]).toHaveLength(1);

    await bucket.link(one, 'server1');
    await bucket.link(two, 'server2');
    await until('both under their own names, and nothing else', async () => {
      const { servers } = await bucket.look();
      return (
        servers
          .map((server) => `${server.name} ${server.online}`)
          .sort()
          .join() === 'server1 true,server2 true'
      );
    });
  });
});

test('S32: link without words and without a stored link says where keys are, and writes nothing', async ({
  manager,
}) => {
  const pm = manager(ours.program);
  const { code, stdout, stderr } = await pm.run('link');
  expect(code).toBe(1);
  expect(stdout + stderr).toMatch(/dashboard under Connect/);
  expect(existsSync(path.join(pm.home, 'agent.json5'))).toBe(false);
});

test('S33: a hub that cannot be reached: a warning, and the link comes when the hub does', async ({
  manager,
}) => {
  const pm = manager(ours.program);
  const own = await Hub.start();
  try {
    const bucket = await Bucket.make(own);
    await own.end();
    const from = Date.now();
    const { code, stdout, stderr } = await bucket.link(pm, 'early');
    expect(Date.now() - from).toBeGreaterThan(6_000);
    expect(code).toBe(0);
    expect(stdout + stderr).toMatch(/Not connected to the hub yet .*retrying in background/);
    await own.crashAndRestart();
    await bucket.server('early', (server) => server.online, 40_000);
  } finally {
    await own.dispose();
  }
});

test('S36 S56: nothing listens on the network; one agent for each home', async ({ manager }) => {
  const bucket = await Bucket.make(hub);
  const pm = manager(ours.program);
  await pm.ok('ping');
  await bucket.link(pm, 'box');
  const sockets = new Set<string>();
  const mine = processesWith(`PM2_HOME=${pm.home}`);
  for (const pid of mine)
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      try {
        const target = readlinkSync(`/proc/${pid}/fd/${fd}`);
        if (target.startsWith('socket:[')) sockets.add(target.slice(8, -1));
      } catch {
        // closed meanwhile
      }
    }
  const rows = ['tcp', 'tcp6'].flatMap((name) =>
    readFileSync(`/proc/net/${name}`, 'utf8').split('\n').slice(1),
  );
  const columns = rows.map((row) => row.trim().split(/\s+/)).filter((row) => sockets.has(row[9] ?? ''));
  // 01 is established, 0A listens.
  expect(columns.map((row) => row[3])).toContain('01');
  expect(columns.map((row) => row[3])).not.toContain('0A');
  // A title each for keeper and daemon; the agent lives in the daemon and can be there once only.
  const titles = mine.map((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
  expect(titles.filter((title) => /PM2.*God Daemon/.test(title))).toHaveLength(1);
  await bucket.link(pm, 'box');
  expect((await bucket.look()).servers).toHaveLength(1);
});

test('S55: an agent that starts again is no second server', async ({ manager }) => {
  const bucket = await Bucket.make(hub);
  const both = [manager(ours.program), manager(pm2Agents[2]?.program ?? ours.program)];
  for (const [n, pm] of both.entries()) {
    await sleepers(pm, 'app');
    await bucket.link(pm, `box-${n}`);
    await bucket.server(`box-${n}`, (server) => server.processes.length === 1);
  }
  const before = (await bucket.look()).servers.map((server) => server.id).sort();
  for (const [n, pm] of both.entries()) {
    await pm.ok('link', 'stop');
    await pm.ok('link');
    await bucket.server(`box-${n}`, (server) => server.online);
  }
  expect((await bucket.look()).servers.map((server) => server.id).sort()).toEqual(before);
});

test('S66 S69 S70: where name and keys come from, and that the name is kept', async ({ manager }) => {
  const bucket = await Bucket.make(hub);
  const pm = manager(ours.program);
  const keys = [bucket.secretKey, bucket.publicKey];
  const name = () => stored(pm).machine_name;
  const none = { HOSTNAME: '' };

  await link(pm, keys, none);
  expect(name(), 'the host name').toBe(hostname());
  await pm.ok('unlink');
  await link(pm, keys, { HOSTNAME: 'from-env' });
  expect(name(), '$HOSTNAME goes first').toBe('from-env');
  await link(pm, keys, none);
  expect(name(), 'kept').toBe('from-env');
  await link(pm, [...keys, 'typed'], none);
  expect(name()).toBe('typed');
  const instance = await link(pm, [...keys, 'typed'], { INSTANCE_NAME: 'instance' });
  expect(name()).toBe('instance');
  expect(instance.stdout).toContain('server name from environment variable INSTANCE_NAME');
  await link(pm, [...keys, 'typed'], { INSTANCE_NAME: 'instance', PM2_MACHINE_NAME: 'machine' });
  expect(name()).toBe('machine');

  const env = { PM2_SECRET_KEY: bucket.secretKey, PM2_PUBLIC_KEY: bucket.publicKey };
  const won = await link(pm, ['typed-secret', 'typed-public'], env);
  expect(won.code).toBe(0);
  expect(won.stdout).toContain('secret key from environment variable PM2_SECRET_KEY');
  expect(stored(pm)).toMatchObject({ public_key: bucket.publicKey, secret_key: bucket.secretKey });
  const older = { KEYMETRICS_SECRET: bucket.secretKey, KEYMETRICS_PUBLIC: bucket.publicKey };
  expect((await link(pm, ['typed-secret', 'typed-public'], older)).code).toBe(0);

  expect((await pm.ok('link')).stdout).toContain('server name from saved configuration');
  await pm.ok('kill');
  await pm.ok('ping');
  await bucket.server('machine', (server) => server.online);
});

test('S72: wrong keys are told in 3 seconds, and what was stored stays', async ({ manager }) => {
  const bucket = await Bucket.make(hub);
  const pm = manager(ours.program);
  await pm.ok('ping');
  for (const words of [
    ['wrongwrongwrong', bucket.publicKey],
    [bucket.secretKey, 'wrongwrongwrong'],
    ['wrongwrongwrong', 'wrongagainwrong'],
  ]) {
    const from = Date.now();
    const { code, stdout, stderr } = await link(pm, words);
    expect(Date.now() - from).toBeLessThan(3_000);
    expect(code).toBe(1);
    expect(stdout + stderr).toMatch(/does not know these keys/);
    expect(existsSync(path.join(pm.home, 'agent.json5'))).toBe(false);
  }
  await bucket.link(pm, 'good');
  expect((await link(pm, ['wrongwrongwrong', 'wrongagainwrong'])).code).toBe(1);
  expect(stored(pm)).toMatchObject({ secret_key: bucket.secretKey, machine_name: 'good' });
  await bucket.server('good', (server) => server.online);
});

test('S63 S64 S73: no secret in what is printed or logged; each step of the way is in agent.log', async ({
  manager,
}) => {
  const bucket = await Bucket.make(hub);
  const pm = manager(ours.program);
  const told = [await bucket.link(pm, 'box'), await pm.run('link', 'info'), await pm.run('link')];
  for (const { stdout, stderr } of told) expect(stdout + stderr).not.toContain(bucket.secretKey);
  const info = told[1]?.stdout ?? '';
  for (const row of [
    'Server name',
    'Public key',
    'Secret key',
    'Remote host',
    'Connected',
    'Data channel',
    'Command channel',
  ])
    expect(info).toMatch(new RegExp(`^${row} +: .+`, 'm'));
  expect(info).toContain(`${bucket.secretKey.slice(0, 3)}********`);

  const dead = await freePort();
  await pm.run('link', bucket.secretKey, bucket.publicKey, '--info-node', `http://127.0.0.1:${dead}`);
  const log = pm.file('agent.log');
  expect(log).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z? .*connecting to 127\.0\.0\.1:\d+$/m);
  expect(log).toMatch(new RegExp(`connecting to 127\\.0\\.0\\.1:${dead}: Connection refused.*; next try in`));
  expect(log).not.toContain(bucket.secretKey);
  expect(pm.file('pm2.log')).not.toContain(bucket.secretKey);
  // What the hub writes down is for files and journals, too.
  expect(hub.log).toMatch(/an agent linked/);
  expect(hub.log).not.toContain(bucket.secretKey);
  expect(hub.log).not.toContain('\u001b');
});

test('S57: link warns when another home of this host is linked to the same bucket under the same name', async ({
  manager,
}) => {
  const [bucket, another] = [await Bucket.make(hub), await Bucket.make(hub)];
  const said = async (pm: Manager, to: Bucket, name: string) => {
    const { code, stdout, stderr } = await to.link(pm, name);
    expect(code).toBe(0);
    return stdout + stderr;
  };
  const [first, second] = [manager(ours.program), manager(ours.program)];
  expect(await said(first, bucket, 'box')).not.toContain('same name');
  const warned = await said(second, bucket, 'box');
  expect(warned).toContain(`another home of this host, ${first.home}, is linked under the same name: box`);
  expect(warned).toMatch(/PM2_MACHINE_NAME=<name> pilothouse link/);
  expect(await said(second, bucket, 'box'), 'it is not its own neighbour').not.toContain(second.home);
  expect(await said(second, bucket, 'other')).not.toContain('same name');
  expect(await said(second, another, 'box'), 'another bucket is another place').not.toContain('same name');
  // A home of the original counts as well.
  const theirs = manager(pm2Agents.at(-1)?.program ?? ours.program);
  await theirs.ok('ping');
  await bucket.link(theirs, 'theirs');
  expect(await said(second, bucket, 'theirs')).toContain(theirs.home);
});
