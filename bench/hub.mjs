// A hub for the rows that link to one.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { ours, until } from './sides.mjs';

const owner = { PILOTHOUSE_OWNER_EMAIL: 'bench@example.com', PILOTHOUSE_OWNER_PASSWORD: 'only for this run' };

/** Starts a hub on this data; its process and its start facts. */
async function start(data, listen) {
  const child = spawn(ours.file, ['hub', '--data', data, '--listen', listen, '--json'], {
    env: { ...process.env, ...owner },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const first = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', resolve);
    child.once('exit', (code) => reject(new Error(`the hub exited with ${code}`)));
  });
  return { child, facts: JSON.parse(first) };
}

/**
 * Runs `work` with a fresh hub on loopback: its start facts, a token, `shows(n)`, which waits until it shows n processes, and
 * `die(ms)`, which kills it and starts it again on the same address and data after a while.
 */
export async function withHub(work) {
  const data = mkdtempSync(path.join(tmpdir(), 'phb-hub-'));
  let { child, facts } = await start(data, '127.0.0.1:0');
  const die = async (ms) => {
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
    await new Promise((resolve) => setTimeout(resolve, ms));
    ({ child } = await start(data, new URL(facts.url).host));
  };
  try {
    const token = await login(facts.url);
    const shows = (n) =>
      until(async () => {
        const reply = await fetch(`${facts.url}/api/bucket/${facts.bucket}/data/status`, { headers: { authorization: `Bearer ${token}` } });
        const servers = await reply.json();
        return servers.some((server) => server.data.process.length === n);
      });
    return await work({ ...facts, token, pid: child.pid, shows, die });
  } finally {
    child.kill('SIGKILL');
    rmSync(data, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function login(url) {
  const reply = await fetch(`${url}/api/oauth/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      grant_type: 'password',
      client_id: 'bench',
      username: owner.PILOTHOUSE_OWNER_EMAIL,
      password: owner.PILOTHOUSE_OWNER_PASSWORD,
    }),
  });
  return (await reply.json()).access_token;
}
