// Limits that the kernel holds, by cgroup v2, on a machine that has it whatever this one has.
import { realpathSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasMachine, runOnMachine } from '../lib/machine.ts';
import { discard, scratch } from '../lib/scratch.ts';
import { binary, root, underTest } from '../lib/under-test.ts';

describe.runIf(underTest === 'ours' && hasMachine())('limits', () => {
  // biome-ignore lint/suspicious/noExplicitAny: what machine/limits.mjs wrote down, looked at by name
  let found: any;
  let dir: string;

  beforeAll(async () => {
    dir = scratch();
    writeFileSync(path.join(dir, 'parameters.json'), JSON.stringify({ pm2: realpathSync(binary.path) }));
    found = await runOnMachine(path.join(root, 'e2e/machine/limits.mjs'), dir);
  }, 260_000);
  afterAll(() => discard(dir));

  test('of memory, processors and processes hold each process in a cgroup of its own', () => {
    const { started, limits, files, own, free, describe: shown } = found.root;
    expect(started).toMatchObject({ status: 0 });
    expect(limits).toEqual({ cgroup: expect.stringMatching(/\/pilothouse-[^/]+\/fits\.0\.\d+$/) });
    expect(files).toEqual({
      'memory.max': String(200 << 20),
      'memory.high': String(150 << 20),
      'cpu.max': '50000 100000',
      'cpu.weight': '42',
      'pids.max': '64',
    });
    expect(own).toBe(`0::${limits.cgroup.replace('/sys/fs/cgroup', '')}`);
    // What has no limits stays where the manager is.
    expect(free).toBe('0::/');
    expect(shown).toMatch(/│ limits +│ memory_max 200M, memory_high 150M, cpu_max 50%/);
    expect(shown).toContain(limits.cgroup);
  });

  test('are of one life: a restart makes a new cgroup, and the death of the daemon keeps it', () => {
    expect(found.root).toMatchObject({ another: true, survived: [true, true, true] });
  });

  test('of memory: who exceeds them is killed, and the report proves it', () => {
    expect(found.hog).toMatchObject({ name: 'hog', exit: { signal: 'SIGKILL' }, oom: { killed: true } });
    expect(found.hog.oom.evidence.join('\n')).toMatch(/oom_kill of \S+\/hog\.\d+\.\d+ is 1/);
  });

  test('of memory: a child that was killed is told, and is no proof of the end of its parent', () => {
    expect(found.parent).toMatchObject({ name: 'parent', exit: { code: 3 }, oom: { killed: false } });
    expect(found.parent.oom.evidence.join('\n')).toMatch(/oom_kill of \S+\/parent\.\d+\.\d+ is 1/);
  });

  test('of processes: one too many is refused', () => {
    expect(found.forks.said).toContain('refused EAGAIN');
    expect(found.forks.current).toBeLessThanOrEqual(24);
    expect(found.forks.events).toMatch(/^max [1-9]/);
  });

  test('of processors: who wants more is held back', () => {
    expect(Number(found.busy.nr_throttled)).toBeGreaterThan(3);
  });

  test('work for a user to whom a cgroup was delegated, as a unit of systemd with Delegate=yes', () => {
    const { started, limits, files, own, daemon } = found.delegated;
    expect(started).toMatchObject({ status: 0 });
    expect(limits).toEqual({ cgroup: expect.stringMatching(/\/unit\.service\/fits\.0\.\d+$/) });
    expect(files).toMatchObject({ 'memory.max': String(100 << 20), 'pids.max': '50' });
    expect(own).toMatch(/^0::\/unit\.service\/fits\.0\.\d+$/);
    expect(daemon).toBe('0::/unit.service/pilothouse-manager');
  });

  test.each([
    ['the cgroup is not delegated', 'notDelegated', /the cgroup \S+ is not delegated to this user/],
    ['there is no cgroup v2', 'noHierarchy', /no hierarchy of cgroup v2 is mounted/],
  ])('that can not be held, as %s: the app runs, and it is told', (_, step, reason) => {
    const { started, status, limits, told, describe: shown, doctor } = found[step];
    expect(started).toMatchObject({ status: 0 });
    expect(status).toBe('online');
    expect(limits).toEqual({ trouble: expect.stringMatching(reason) });
    // Once, though it was started twice.
    expect(told).toHaveLength(1);
    expect(told[0]).toMatch(reason);
    expect(shown.replaceAll(/[│\s]+/g, ' ')).toMatch(/limits memory_max 100M; not held: /);
    expect(doctor).toContain('limits');
    expect(doctor.replaceAll(/\s+/g, ' ')).toMatch(/where cgroup v2 is delegated/);
  });

  test('leave nothing running', () => {
    expect(found.left).toBe(0);
  });
});
