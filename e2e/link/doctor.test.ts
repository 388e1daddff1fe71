// `link doctor` with one thing wrong at a time (F3 of the product's list), and what a report says of the link (S3).
import path from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { ours, test } from '../lib/agents.ts';
import { oldNode, sleepers } from '../lib/apps.ts';
import { Bucket } from '../lib/bucket.ts';
import { asSeenFrom, type Detour, mute, refusingProxy, stranger, untrusted } from '../lib/detours.ts';
import { Hub } from '../lib/hub.ts';
import type { Manager } from '../lib/manager.ts';
import { Narrow } from '../lib/narrow.ts';
import { freePort } from '../lib/port.ts';
import { httpProxy, socksProxy } from '../lib/proxies.ts';
import { apps } from '../lib/under-test.ts';

let hub: Hub;
beforeAll(async () => {
  hub = await Hub.start();
});
afterAll(() => hub?.dispose());

interface Finding {
  state: 'ok' | 'unknown' | 'warning' | 'error';
  area: string;
  text: string;
  mend: string | null;
}

/** What the doctor finds with these keys at that address: exit code, and findings by area. */
async function examine(pm: Manager, keys: string[], url: string, env: Record<string, string> = {}) {
  const words = ['link', 'doctor', ...keys, '--info-node', url, '--json'];
  const { code, stdout, stderr } = await pm.with(pm.program, words, { env: { PM2_PROXY: 'none', ...env } });
  expect(stderr).toBe('');
  const list: Finding[] = JSON.parse(stdout);
  for (const { state, mend, area } of list)
    expect(mend !== null, `${area} has a mend if, and only if, it is ill`).toBe(
      state === 'warning' || state === 'error',
    );
  return { code, list, found: Object.fromEntries(list.map((finding) => [finding.area, finding])) };
}

const areas = [
  'names',
  'tcp',
  'proxy',
  'tls',
  'hub',
  'websocket',
  'clock',
  'keys',
  'name',
  'plan',
  'versions',
];

/** Areas that are in this state, the agent's own aside. */
const having = (list: Finding[], ...states: string[]) =>
  list.filter(({ area, state }) => area !== 'agent' && states.includes(state)).map(({ area }) => area);

test('F3: link doctor finds nothing wrong with a good link, with keys and without', async ({ manager }) => {
  const bucket = await Bucket.make(hub);
  const pm = manager(ours.program);
  const before = await examine(pm, [bucket.secretKey, bucket.publicKey, 'box'], hub.facts.url);
  expect(before.code).toBe(0);
  expect(before.list.map(({ area }) => area)).toEqual(['agent', ...areas]);
  expect(having(before.list, 'warning', 'error', 'unknown')).toEqual([]);
  expect(before.found.agent).toMatchObject({ state: 'warning', text: 'this home is not linked' });
  expect((await bucket.look()).servers, 'nothing was linked by it').toEqual([]);

  expect((await bucket.link(pm, 'box')).code).toBe(0);
  const { code, stdout } = await pm.run('link', 'doctor');
  expect(`${code} ${stdout}`).toMatch(/^0 /);
  expect(stdout).toMatch(/✓ agent +linked as box/);
  expect(stdout).toMatch(/✓ keys +the hub knows them/);
  expect(stdout).not.toContain(bucket.secretKey);
});

test('F3: link doctor names the step that is blocked, and what comes behind it as not reached', async ({
  manager,
}) => {
  const bucket = await Bucket.make(hub);
  const keys = [bucket.secretKey, bucket.publicKey, 'box'];
  const pm = manager(ours.program);
  const open: { close: () => Promise<unknown> }[] = [];
  const detour = async (opened: Promise<Detour>) => {
    open.push(await opened);
    return (await opened).url;
  };
  const narrow = await Narrow.before(hub.facts.url);
  open.push(narrow);
  const closed = `127.0.0.1:${await freePort()}`;
  const refusing = await detour(refusingProxy());
  try {
    const cases: [step: string, url: string, env: Record<string, string>, text: RegExp, mend: RegExp][] = [
      ['names', 'http://no-such-host.invalid:80', {}, /no-such-host\.invalid/, /resolv\.conf/],
      ['tcp', `http://${closed}`, {}, /refused/, new RegExp(`outbound TCP to ${closed} `)],
      ['tcp', hub.facts.url, { PM2_PROXY: `http://${closed}` }, /refused/, /see that the proxy runs/],
      ['proxy', hub.facts.url, { PM2_PROXY: refusing }, /it answered 403/, /CONNECT\) to 127\.0\.0\.1/],
      ['tls', await detour(untrusted()), {}, /UnknownIssuer/, /SSL_CERT_FILE/],
      ['tls', hub.facts.url.replace('http:', 'https:'), {}, /securing the connection/, /http:\/\//],
      ['hub', await detour(stranger()), {}, /no hub of this kind \(HTTP status 404\)/, /--info-node/],
      ['hub', await detour(mute()), {}, /no answer within 4 s/, /its log/],
      ['websocket', narrow.url, {}, /HTTP status 400/, /Upgrade: websocket/],
    ];
    for (const [step, url, env, text, mend] of cases) {
      const { code, list, found } = await examine(pm, keys, url, env);
      expect(code, step).toBe(1);
      expect(having(list, 'error'), `${step} at ${url}`).toEqual([step]);
      expect(found[step]?.text).toMatch(text);
      expect(found[step]?.mend).toMatch(mend);
      // Nothing behind it is called well that was not looked at.
      const behind = areas.slice(areas.indexOf(step) + 1, areas.indexOf('clock'));
      for (const area of behind.filter((area) => !['proxy', 'tls'].includes(area)))
        expect(found[area]?.state, `${area} after ${step}`).toBe('unknown');
    }
  } finally {
    for (const one of open) await one.close();
  }
});

test('F3: link doctor goes through a proxy as the agent does, and tells when its password is wrong', async ({
  manager,
}) => {
  const bucket = await Bucket.make(hub);
  const keys = [bucket.secretKey, bucket.publicKey, 'box'];
  const pm = manager(ours.program);
  for (const start of [httpProxy, socksProxy]) {
    const proxy = await start();
    try {
      const good = await examine(pm, keys, hub.facts.url, { PM2_PROXY: proxy.url });
      expect([good.code, having(good.list, 'warning', 'error', 'unknown')]).toEqual([0, []]);
      expect(good.found.proxy?.text).toContain(`leads to ${new URL(hub.facts.url).host}`);
      expect(proxy.asked.length, 'for the question, and for the WebSocket').toBe(2);
      const wrong = { PM2_PROXY: proxy.url.replace('pilot:', 'somebody:') };
      const denied = await examine(pm, keys, hub.facts.url, wrong);
      expect([denied.code, having(denied.list, 'error')]).toEqual([1, ['proxy']]);
      expect(denied.found.proxy?.mend).toContain(
        start === httpProxy ? 'mend user and password' : 'PM2_PROXY',
      );
      expect(JSON.stringify([good.list, denied.list])).not.toMatch(/sea(%20| )secret/);
    } finally {
      await proxy.close();
    }
  }
});

test('F3: link doctor tells wrong keys, swapped keys, a clock that is off and a Node that is too old', async ({
  manager,
}) => {
  const bucket = await Bucket.make(hub);
  const [secret, publicKey] = [bucket.secretKey, bucket.publicKey];
  const pm = manager(ours.program);
  const wrong = await examine(pm, ['wrongwrongwrong', publicKey], hub.facts.url);
  expect([wrong.code, having(wrong.list, 'error')]).toEqual([1, ['keys']]);
  expect(wrong.found.keys).toMatchObject({ text: expect.stringContaining('does not know these keys') });
  expect(wrong.found.hub?.state, 'the hub is not to blame').toBe('ok');

  const swapped = await examine(pm, [publicKey, secret], hub.facts.url);
  expect([swapped.code, having(swapped.list, 'warning')]).toEqual([0, ['keys']]);
  expect(swapped.found.keys?.text).toContain('the wrong way round');

  const late = await asSeenFrom(hub.facts.url, 31.5 * 86_400_000);
  try {
    const { code, list, found } = await examine(pm, [secret, publicKey], late.url);
    expect([code, having(list, 'error').includes('clock')]).toEqual([1, true]);
    expect(found.clock).toMatchObject({
      text: expect.stringMatching(/31 days ahead/),
      mend: expect.stringContaining('timedatectl'),
    });
  } finally {
    await late.close();
  }

  const node = oldNode(pm, 'v0.10.48');
  const old = await examine(pm, [secret, publicKey], hub.facts.url, { PATH: `${node}:${process.env.PATH}` });
  expect([old.code, having(old.list, 'error')]).toEqual([1, ['versions']]);
  expect(old.found.versions?.text).toContain('PM2 7.0.4 needs Node.js 4 or newer');
});

test('F3: link doctor tells a name that is taken, a full bucket and a plan that holds processes back', async ({
  manager,
}) => {
  const bucket = await Bucket.make(hub, { max_processes: 1 });
  const keys = [bucket.secretKey, bucket.publicKey];
  const [first, second] = [manager(ours.program), manager(ours.program)];
  await sleepers(first, 'one', 'two');
  await bucket.link(first, 'box');
  await bucket.server('box', (server) => server.processes.length === 2);
  const held = await first.run('link', 'doctor', '--json');
  const plan = JSON.parse(held.stdout).find(({ area }: Finding) => area === 'plan');
  expect(plan).toMatchObject({
    state: 'warning',
    text: expect.stringContaining("1 of this server's processes"),
  });

  const taken = await examine(second, [...keys, 'box'], hub.facts.url);
  expect([taken.code, having(taken.list, 'warning')]).toEqual([0, ['name']]);
  expect(taken.found.name?.text).toContain(first.home);
  expect(taken.found.name?.mend).toContain('PM2_MACHINE_NAME');

  await bucket.set({ max_servers: 1 });
  const full = await examine(second, [...keys, 'other'], hub.facts.url);
  expect([full.code, having(full.list, 'error')]).toEqual([1, ['plan']]);
  expect(full.found.plan?.text).toContain('takes 1 servers');
  const linked = await first.run('link', 'doctor', '--json');
  expect(having(JSON.parse(linked.stdout), 'error'), 'who is in has a place').toEqual([]);
});

test('F3: link doctor says why an agent is not linked, and asks for what is missing', async ({ manager }) => {
  const pm = manager(ours.program);
  const none = await pm.run('link', 'doctor');
  expect(none.code).toBe(1);
  expect(none.stderr).toMatch(/no public key: use `link/);
  expect((await pm.run('link', 'doctor', 'lonely')).stderr).toContain('one key is not enough');
  const bucket = await Bucket.make(hub);
  await bucket.link(pm, 'box');
  await pm.ok('link', 'stop');
  const { code, stdout } = await pm.run('link', 'doctor');
  expect(code).toBe(1);
  expect(stdout).toMatch(/✗ agent +none runs\n +→ pilothouse link starts it/);
});

test('S3: report says how the link stands, with masked keys, ready to paste; --json for programs', async ({
  manager,
}) => {
  const bucket = await Bucket.make(hub);
  const pm = manager(ours.program);
  await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'web');
  expect((await pm.ok('report')).stdout).toMatch(/^State +: not linked$/m);
  await bucket.link(pm, 'box');
  const { stdout } = await pm.ok('report');
  expect(stdout.match(/^```$/gm)).toHaveLength(2);
  expect(stdout).toMatch(/^--- Link -+$/m);
  for (const row of [
    /^Server name +: box$/m,
    /^Connected +: yes$/m,
    /^State +: linked$/m,
    /^Command channel +: connected$/m,
    new RegExp(`^Public key +: ${bucket.publicKey.slice(0, 3)}\\*+$`, 'm'),
    new RegExp(`^Secret key +: ${bucket.secretKey.slice(0, 3)}\\*+$`, 'm'),
  ])
    expect(stdout).toMatch(row);
  const json = JSON.parse((await pm.ok('report', '--json')).stdout);
  expect(json).toMatchObject({
    daemon: { pm2d_version: '7.0.4' },
    link: { server_name: 'box', connected: 'yes', state: 'linked' },
    list: [{ name: 'web', status: 'online', restarts: 0 }],
  });
  for (const text of [stdout, JSON.stringify(json)]) {
    expect(text).not.toContain(bucket.secretKey);
    expect(text).not.toContain(bucket.publicKey);
  }
});
