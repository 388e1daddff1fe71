// What PM2's own agents say to the hub and it to them, looked at on the wire: both modes of the status, lines of logs, profiles, and
// commands that would be the end of an agent.
import { createRequire } from 'node:module';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { everyAgent, pm2Agents, test } from '../lib/agents.ts';
import { Bucket } from '../lib/bucket.ts';
import { Hub } from '../lib/hub.ts';
import { type Talk, Tap } from '../lib/tap.ts';
import { apps } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let hub: Hub;
beforeAll(async () => {
  hub = await Hub.start();
});
afterAll(() => hub?.dispose());

const app = (name: string) => path.join(apps, name);
const Client = createRequire(import.meta.url)('@pm2/js-api');
const said = (talk: Talk | undefined, channel: string) =>
  (talk?.up ?? []).filter((one) => one.channel === channel);

describe.concurrent.each(pm2Agents)('$kind', ({ program }) => {
  test('statuses whole and as patches, lines of logs while they are asked for, profiles', async ({
    manager,
  }) => {
    const bucket = await Bucket.make(hub);
    const tap = await Tap.before(hub.facts.url);
    const client = new Client({
      services: { API: hub.facts.url, OAUTH: hub.facts.url },
      OAUTH_CLIENT_ID: 'e2e',
    });
    try {
      const pm = manager(program);
      await pm.ok('start', app('talker.js'), '--name', 'talker');
      await pm.ok('link', bucket.secretKey, bucket.publicKey, 'box', '--info-node', tap.url);
      const box = await bucket.server('box', (server) => server.processes.length === 1);
      const talk = () => tap.talks().at(-1);

      // `link` starts an agent that sends patches; what they say is followed.
      await until('patches come', () => said(talk(), 'status:patch').length > 1);
      await pm.ok('start', app('prints.js'), '--name', 'second');
      await bucket.server('box', (server) => server.processes.length === 2);
      await pm.ok('delete', 'second');
      await bucket.server('box', (server) => server.processes.length === 1);

      // Somebody follows the bucket with the official client.
      client.use('standalone', { refresh_token: (await hub.login()).refresh_token });
      await client.bucket.retrieveAll();
      await client.realtime.subscribe(bucket.id);
      // biome-ignore lint/suspicious/noExplicitAny: the client's own shapes
      const heard: { logs: any[]; profiles: any[] } = { logs: [], profiles: [] };
      client.realtime.on(`${bucket.publicKey}:box:logs`, (event: unknown) => heard.logs.push(event));
      client.realtime.on(`${bucket.publicKey}:box:profiling`, (event: unknown) => heard.profiles.push(event));

      const logging = (method_name: string) =>
        bucket.api('POST', '/actions/triggerPM2', { server_name: 'box', method_name, parameters: {} });
      expect(said(talk(), 'logs')).toEqual([]);
      expect((await logging('startLogging')).status).toBe(200);
      await until('lines are heard', () => JSON.stringify(heard.logs).includes('line '));
      expect((await logging('stopLogging')).status).toBe(200);
      const ended = await until('the agent says that it stopped', () => {
        const up = talk()?.up ?? [];
        const at = up.findLastIndex(
          (one) =>
            one.channel === 'trigger:pm2:result' && JSON.stringify(one.payload).includes('stopLogging'),
        );
        return at !== -1 && { at };
      });
      await until('it goes on, and is silent on logs', () => {
        const after = (talk()?.up ?? []).slice(ended.at + 1);
        const ticks = after.filter((one) => one.channel === 'status:patch').length;
        // What was on its way in that moment may still come.
        const late = after.findLastIndex((one) => one.channel === 'logs');
        const since = after.slice(late + 1).filter((one) => one.channel === 'status:patch').length;
        return ticks >= 3 && since >= 3;
      });

      const profile = {
        action: 'km:cpu:profiling:start',
        process: 0,
        custom: true,
        params: { timeout: 300 },
      };
      await until(
        'the app offers profiles',
        async () => (await bucket.act(box, profile)).at(-1)?.ok === true,
      );
      await until('the profile arrived', () => said(talk(), 'profilings').length > 0);
      const told = await until('it is told to who follows', () => heard.profiles[0]);
      expect(JSON.stringify(told)).toContain('cpuprofile');

      // Shapes that would crash the agent never reach it.
      const agent = pm.file('agent.pid');
      const bad = [
        ['/actions/trigger', { server_name: 'box', action_name: 'km:heapdump' }],
        ['/actions/triggerPM2', { server_name: 'box', method_name: 'restart' }],
        ['/actions/triggerPM2', { server_name: 'box', method_name: 'restart', parameters: 'talker' }],
        ['/actions/triggerPM2', { server_name: 'box', method_name: 'restart', parameters: {} }],
        ['/actions/triggerPM2', { server_name: 'box', method_name: 'scale', parameters: { name: 'talker' } }],
        ['/actions/triggerPM2', { server_name: 'box', method_name: 'install', parameters: {} }],
      ] as const;
      for (const [route, body] of bad) {
        const { status } = await bucket.api('POST', route, body);
        expect([400, 404, 409, 422], JSON.stringify(body)).toContain(status);
      }
      for (const one of talk()?.down ?? []) {
        expect(one).toMatchObject({ channel: expect.any(String) });
        if (one.channel.startsWith('trigger:pm2:'))
          expect(one.payload.parameters, JSON.stringify(one)).toBeInstanceOf(Object);
      }
      await bucket.server('box', (server) => server.online);
      expect(pm.file('agent.pid')).toBe(agent);
      expect(tap.talks()).toHaveLength(1);

      // With the daemon comes an agent that sends the whole each time.
      await pm.ok('kill');
      await pm.ok('start', app('talker.js'), '--name', 'again');
      await until('whole statuses come', () => tap.talks().length > 1 && said(talk(), 'status').length > 3, {
        within: 30_000,
      });
      expect(said(talk(), 'status:patch')).toEqual([]);
      await bucket.server(
        'box',
        (server) => server.processes.length === 1 && server.processes[0]?.name === 'again',
      );
      expect((await bucket.look()).servers).toHaveLength(1);
    } finally {
      await client.realtime.unsubscribe(bucket.id).catch(() => {});
      await tap.close();
    }
  });
});

describe.concurrent.each(pm2Agents)('$kind', ({ program, short }) => {
  test('S37: the switches of the transports before 3.2 are none any more: one WebSocket, whatever they say', async ({
    manager,
  }) => {
    const bucket = await Bucket.make(hub);
    const tap = await Tap.before(hub.facts.url);
    try {
      const pm = manager(program, { AGENT_TRANSPORT_AXON: 'true', AGENT_TRANSPORT_WEBSOCKET: 'false' });
      await pm.ok('start', app('prints.js'), '--name', 'web');
      await pm.ok('link', bucket.secretKey, bucket.publicKey, short, '--info-node', tap.url);
      const box = await bucket.server(short, ({ processes }) => processes[0]?.status === 'online');
      const told = await bucket.act(box, { action: 'restart', app: 'web' });
      expect(told.at(-1)).toMatchObject({ ok: true });
      expect(tap.talks()).toHaveLength(1);
    } finally {
      await tap.close();
    }
  });
});

test('agents of all kinds share a bucket', async ({ manager }) => {
  const bucket = await Bucket.make(hub);
  const linked = await Promise.all(
    everyAgent.map(async ({ short, program }) => {
      const pm = manager(program);
      await pm.ok('start', app('prints.js'), '--name', 'web');
      await bucket.link(pm, short);
      return { short, pm };
    }),
  );
  for (const { short, pm } of linked) {
    const server = await bucket.server(
      short,
      ({ online, processes }) => online && processes[0]?.status === 'online',
    );
    const { pid } = await pm.app('web');
    expect(server.processes).toMatchObject([{ name: 'web', pid }]);
    const told = await bucket.act(server, { action: 'restart', app: 'web' });
    expect(told.at(-1), short).toMatchObject({ ok: true });
    // While the old process is gone and the new one not there yet, an agent may tell of none: pid 0.
    const again = await bucket.server(
      short,
      ({ processes }) => ![undefined, 0, pid].includes(processes[0]?.pid),
    );
    expect(again.processes[0]?.pid).toBe((await pm.app('web')).pid);
  }
  const { servers, plan } = await bucket.look();
  expect([servers.length, plan.used]).toEqual([everyAgent.length, everyAgent.length]);
});
