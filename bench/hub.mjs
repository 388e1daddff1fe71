// A hub for the rows that link to one.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { ours, until } from './sides.mjs';

const owner = { PILOTHOUSE_OWNER_EMAIL: 'bench@example.com', PILOTHOUSE_OWNER_PASSWORD: 'only for this run' };

/** Runs `work` with a fresh hub on loopback: its start facts, and `shows(n)`, which waits until it shows n processes. */
export async function withHub(work) {
  const data = mkdtempSync(path.join(tmpdir(), 'phb-hub-'));
  const child = spawn(ours.file, ['hub', '--data', data, '--listen', '127.0.0.1:0', '--json'], {
    env: { ...process.env, ...owner },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  try {
    const first = await new Promise((resolve, reject) => {
      createInterface({ input: child.stdout }).once('line', resolve);
      child.once('exit', (code) => reject(new Error(`the hub exited with ${code}`)));
    });
    const facts = JSON.parse(first);
    const token = await login(facts.url);
    const shows = (n) =>
      until(async () => {
        const reply = await fetch(`${facts.url}/api/bucket/${facts.bucket}/data/status`, { headers: { authorization: `Bearer ${token}` } });
        const servers = await reply.json();
        return servers.some((server) => server.data.process.length === n);
      });
    return await work({ ...facts, pid: child.pid, shows });
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
