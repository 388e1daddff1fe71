// A thousand agents on real sockets: what they cost the hub, what goes over the wire, and how long an event takes from
// its agent to a browser. The fleet is a program of its own (crates/agent/examples/fleet), so that the hub's CPU is its alone.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { withHub } from './hub.mjs';
import { cpuSeconds, pss } from './sides.mjs';

const AGENTS = 1000;
const SECONDS = 30;
const program = process.env.FLEET_BIN ?? path.join(import.meta.dirname, '../target/release/examples/fleet');

/** A fleet at work; `line()` gives the next thing that it tells. */
function fleet(hub, kind, more = []) {
  const keys = `${hub.public_key}.${hub.secret_key}`;
  const args = ['--url', hub.url, '--keys', keys, '--token', hub.token, '--kind', kind, '--agents', AGENTS, '--seconds', SECONDS];
  const child = spawn(program, [...args, ...more].map(String), { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`the fleet ended early, with ${child.exitCode}`);
    return JSON.parse(value);
  };
  return { line, end: () => child.kill('SIGKILL') };
}

const runs = {};

/** What a fleet of this kind comes to; it runs once for all rows. */
const run = (kind) =>
  (runs[kind] ??= withHub(async (hub) => {
    const agents = fleet(hub, kind);
    try {
      await agents.line();
      const before = cpuSeconds(hub.pid);
      const told = await agents.line();
      const cpu = ((cpuSeconds(hub.pid) - before) / told.seconds) * 100;
      return { ...told, cpu, per_core: (AGENTS * 100) / cpu, memory: pss(hub.pid) };
    } finally {
      agents.end();
    }
  }));

/** The hub is killed while everybody is linked and starts again; how long until the last one is back. */
const storm = (kind, figure) => () =>
  withHub(async (hub) => {
    const agents = fleet(hub, kind, ['--seconds', 10, '--until-back', 'true']);
    try {
      await agents.line();
      await agents.line();
      await hub.die(2000);
      const up = Date.now();
      const told = await agents.line();
      return [figure({ ...told, up })];
    } finally {
      agents.end();
    }
  });

const kinds = [
  ['ours', 'of ours', 5000],
  ['pm2', 'of PM2’s', 1500],
];

export const fleetRows = kinds.flatMap(([kind, whose, target]) => {
  const row = (id, what, unit, figure, more) => ({
    id: `fleet-${kind}-${id}`,
    what: `${AGENTS} agents ${whose}, 10 processes at 1 Hz: ${what}`,
    unit,
    alone: true,
    rounds: 1,
    measure: async () => [figure(await run(kind))],
    ...more,
  });
  return [
    row('cpu', 'CPU of the hub', '% of a core', (told) => told.cpu, { target: '' }),
    row('core', 'agents a core', '', (told) => told.per_core, { target: `${target}`, more: true }),
    row('memory', 'memory (PSS) of the hub', 'MB', (told) => told.memory, { target: '' }),
    row('wire', 'sent per agent and second', 'bytes', (told) => told.sent_per_agent, { target: '' }),
    row('p50', 'event on a host → browser, p50', 'ms', (told) => told.p50_ms, { target: '30 ms' }),
    row('p99', 'event on a host → browser, p99', 'ms', (told) => told.p99_ms, { target: '' }),
    {
      id: `fleet-${kind}-back`,
      what: `${AGENTS} agents ${whose}: hub killed, last one back after its start`,
      unit: 's',
      target: '15 s',
      alone: true,
      rounds: 1,
      measure: storm(kind, (told) => (told.back_at - told.up) / 1000),
    },
  ];
});
