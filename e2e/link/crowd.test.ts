// What a hub needs for a crowd of agents: a descriptor for each.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { discard, scratch } from '../lib/scratch.ts';
import { ourBinary } from '../lib/under-test.ts';

test.runIf(process.platform === 'linux')('a hub takes as many descriptors as it may', async () => {
  const dir = scratch();
  const words = ['hub', '--data', path.join(dir, 'data'), '--listen', '127.0.0.1:0', '--json'];
  const hub = spawn('prlimit', ['--nofile=300:3000', ourBinary.path, ...words], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  try {
    await once(hub.stdout, 'data');
    const limits = readFileSync(`/proc/${hub.pid}/limits`, 'utf8');
    expect(limits).toMatch(/^Max open files +3000 +3000 /m);
  } finally {
    const gone = once(hub, 'exit');
    hub.kill();
    await gone;
    discard(dir);
  }
});
