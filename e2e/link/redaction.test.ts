// What a host keeps to itself, looked at on the wire: rules in `redact.toml`, and `link inspect` beside it (F14).
import { rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { newest, ours, test } from '../lib/agents.ts';
import { Bucket } from '../lib/bucket.ts';
import { Hub } from '../lib/hub.ts';
import { Tap } from '../lib/tap.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let hub: Hub;
beforeAll(async () => {
  hub = await Hub.start();
});
afterAll(() => hub?.dispose());

const rules = `
text = ['\\b\\d{4}-\\d{4}-\\d{4}-\\d{4}\\b', '(?i)customer \\w+']
names = ['^iban$']
metrics = ['^revenue', '^Revenue']
`;
// No looser: random identities and times have digits of all kinds.
const secrets = /4111-1111|4222-2222|customer \w|Roe|Doe|Poe|DE02|Revenue|\b4711\b/;

test('F14: what the rules of a host hide is not on the wire, and the bytes on the wire are the bytes that are printed', async ({
  manager,
}) => {
  const tap = await Tap.before(hub.facts.url);
  try {
    const bucket = await Bucket.make(hub);
    const pm = manager(ours.program);
    await pm.ok('start', path.join(apps, 'secrets.js'), '--name', 'shop');
    writeFileSync(path.join(pm.home, 'redact.toml'), rules);
    await pm.ok('link', bucket.secretKey, bucket.publicKey, 'box', '--info-node', tap.url);
    await bucket.server('box', (server) => server.processes.length === 1);
    const listen = { server_name: 'box', method_name: 'startLogging' };
    expect((await bucket.api('POST', '/actions/triggerPM2', listen)).status).toBe(200);

    const words = pm.follow('link', 'inspect');
    const bytes = pm.follow('link', 'inspect', '--raw');
    for (const sign of [
      'paid with card [redacted] by [redacted]',
      'no such [redacted]',
      '[redacted] has no card [redacted]',
      'name: "order"',
      'metric: "Visits"',
    ])
      await until(`${sign} is sent`, () => words.text().includes(sign));
    expect(words.text()).toContain('\\"iban\\":\\"[redacted]\\"');
    const printed = () => bytes.stdout().match(/^[A-Za-z0-9+/]{8,}=*$/gm) ?? [];
    await until('a good number of messages', () => printed().length >= 20);
    words.end();
    bytes.end();
    expect(words.text()).not.toMatch(secrets);

    // Not one byte more, and none less, from the first that was printed to the last.
    const [list, wire] = [printed(), tap.messages()];
    const from = wire.indexOf(list[0] ?? '');
    expect(from).toBeGreaterThan(-1);
    expect(list).toEqual(wire.slice(from, from + list.length));

    // What the hub has of it.
    const { body } = await bucket.api('GET', '/metrics?app=shop');
    expect(JSON.stringify(body)).toContain('Visits');
    expect(JSON.stringify(body)).not.toMatch(secrets);
  } finally {
    await tap.close();
  }
});

test('F14: rules that are not understood are told with their place, and let nothing leave', async ({
  manager,
}) => {
  const tap = await Tap.before(hub.facts.url);
  try {
    const bucket = await Bucket.make(hub);
    const pm = manager(ours.program);
    await pm.ok('start', path.join(apps, 'secrets.js'), '--name', 'shop');
    const file = path.join(pm.home, 'redact.toml');
    const words = ['link', bucket.secretKey, bucket.publicKey, 'box', '--info-node', tap.url];
    const wrong = `text = ['fine',\n  'customer (\\w+']\n`;
    const told = 'redact.toml, line 2, column 3: not a regular expression: unclosed group';

    // Before anything was linked: the command line says it, and nothing is opened.
    writeFileSync(file, wrong);
    const refused = await pm.run(...words);
    expect(refused.code).toBe(1);
    expect(refused.stdout + refused.stderr).toContain(told);
    expect(tap.connections).toBe(0);

    // While it is linked: the link ends at once, and not a byte follows.
    rmSync(file);
    await pm.ok(...words);
    await bucket.server('box', (server) => server.processes.length === 1);
    writeFileSync(file, wrong);
    const state = async () => (await pm.ok('link', 'info')).stdout;
    await until('the reason is shown', async () => (await state()).includes(told));
    const [connections, sent] = [tap.connections, tap.messages().length];
    expect(pm.file('agent.log')).toContain(told);
    await until(
      'it has tried some times',
      () => (pm.file('agent.log').match(/next try in/g) ?? []).length >= 3,
    );
    expect([tap.connections, tap.messages().length]).toEqual([connections, sent]);
    const box = await bucket.server('box', (server) => !server.online);
    expect(box.state).toBe('lost');

    // Mended, it goes on by itself, and by the rules.
    writeFileSync(file, rules);
    await bucket.server('box', (server) => server.online);
    const before = tap.messages().length;
    await until('it reports again', () => tap.messages().length > before + 2);
  } finally {
    await tap.close();
  }
});

test('F14: every field that leaves a host is on the list that it prints and signed, and another key or list is written down', async ({
  manager,
}) => {
  const bucket = await Bucket.make(hub);
  const pm = manager(ours.program);
  await pm.ok('start', path.join(apps, 'secrets.js'), '--name', 'shop');
  const list = async () => JSON.parse((await pm.ok('link', 'inspect', '--fields', '--json')).stdout);
  expect((await list()).host_key, 'no key before there is a link').toBe(null);
  await bucket.link(pm, 'box');
  const before = Date.now();
  const first = await bucket.server('box', (server) => server.processes.length === 1);
  const { digest, host_key, sections } = await list();
  expect(first.manifest).toMatchObject({ digest, key: host_key, known: true });
  expect(first.manifest?.since).toBeLessThanOrEqual(before);
  expect(statSync(path.join(pm.home, 'agent.key')).mode & 0o777).toBe(0o600);
  expect((await pm.ok('link', 'inspect', '--fields')).stdout).toContain(`Signed by host key    ${host_key}`);

  // What really goes: the present, samples, lines, an action and its end.
  const named = new Set(
    // biome-ignore lint/suspicious/noExplicitAny: the list is looked at by name
    sections.flatMap((section: any) => section.fields.map((field: any) => field.name)),
  );
  const words = pm.follow('link', 'inspect');
  await until('it is looked at', () => words.text().includes('Delta {'));
  const listen = { server_name: 'box', method_name: 'startLogging' };
  await until(
    'lines are asked for',
    async () => (await bucket.api('POST', '/actions/triggerPM2', listen)).status === 200,
  );
  const box = await bucket.server('box', (server) => server.online && server.reverse);
  await bucket.act(box, { action: 'restart', app: 'shop' });
  const packets = ['Delta', 'Report', 'LogBatch', 'ActionResult'];
  await until('each of them was seen', () => packets.every((name) => words.text().includes(`${name} {`)));
  const seen = new Set([...words.text().matchAll(/^ +([a-z_0-9]+): /gm)].map(([, name]) => name));
  expect(seen.size).toBeGreaterThan(30);
  expect([...seen].filter((name) => !named.has(name))).toEqual([]);

  // Linked anew it is the same; with a new key it is told.
  const shown = words.text().length;
  await pm.ok('link');
  await until('what the next agent sends is shown, too', () => words.text().slice(shown).includes('Delta {'));
  words.end();
  const again = await bucket.server('box', (server) => server.online);
  expect(again.manifest).toEqual(first.manifest);
  await pm.ok('link', 'stop');
  rmSync(path.join(pm.home, 'agent.key'));
  await pm.ok('link');
  const other = await bucket.server('box', ({ manifest }) => manifest?.key !== host_key);
  expect(other.manifest).toMatchObject({ digest, key: (await list()).host_key });
  await until('it is written down', () => hub.log.includes('other host key'));

  const theirs = manager(newest.program);
  await bucket.link(theirs, 'theirs');
  expect((await bucket.server('theirs', (server) => server.online)).manifest).toBe(null);
});
