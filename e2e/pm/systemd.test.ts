// `startup` under a systemd that boots: set up, powered off, booted again; for root and for a user of its own.
import { realpathSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bootSystemd, hasSystemd } from '../lib/machine.ts';
import { discard, scratch } from '../lib/scratch.ts';
import { binary, root, underTest } from '../lib/under-test.ts';

describe.runIf(underTest === 'ours' && hasSystemd())('under systemd', () => {
  // What machine/systemd.mjs wrote down, looked at by name.
  // biome-ignore lint/suspicious/noExplicitAny: as above
  let setUp: any, booted: any;
  let dir: string;

  beforeAll(async () => {
    dir = scratch();
    writeFileSync(path.join(dir, 'parameters.json'), JSON.stringify({ pm2: realpathSync(binary.path) }));
    const program = path.join(root, 'e2e/machine/systemd.mjs');
    setUp = await bootSystemd(program, dir);
    booted = await bootSystemd(program, dir);
  }, 500_000);
  afterAll(() => discard(dir));

  describe.each([
    ['root', '0', '/var/lib/tried'],
    ['ada', expect.stringMatching(/^[1-9]/), '/home/ada'],
  ])('for %s', (user, uid, home) => {
    const service = `/system.slice/pm2-${user}.service`;

    test('startup finds systemd, writes a unit and has it enabled', () => {
      const { startup, enabled, started, saved } = setUp[user];
      expect(startup).toMatchObject({ status: 0 });
      expect(startup.stdout).toContain('Init System found: systemd');
      expect([enabled.said, started.status, saved.status]).toEqual(['enabled', 0, 0]);
    });

    test.runIf(user !== 'root')('startup tells a user without rights what root has to run', () => {
      expect(setUp[user].told).toMatch(
        new RegExp(`sudo env PATH=.* startup systemd -u ${user} --hp ${home}`),
      );
    });

    test('after a boot the saved apps are back, as the user', () => {
      expect(booted[user]).toMatchObject({ unit: { status: 0, said: 'active' }, uid });
    });

    test('limits are held by cgroups within that of the unit', () => {
      const { held, free } = booted[user];
      expect(held).toMatchObject({ memory: String(100 << 20), pids: '40' });
      expect(held.limits).toEqual({
        cgroup: expect.stringMatching(`^/sys/fs/cgroup${service}/held\\.0\\.\\d+$`),
      });
      expect(held.own).toBe(`0::${held.limits.cgroup.replace('/sys/fs/cgroup', '')}`);
      expect(free).toBe(`0::${service}/pilothouse-manager`);
    });

    test.each(['daemonKilled', 'keeperKilled', 'updated'])('apps and unit outlive it: %s', (what) => {
      expect(booted[user][what]).toEqual({ same: true, unit: 'active' });
      expect(booted[user].where).toBe(`0::${service}/pilothouse-manager`);
    });

    test('reload, stop and start of the unit are those of its apps', () => {
      const { reload, anew, stop, stopped, failed, start, again } = booted[user];
      expect([reload, stop, start]).toEqual(Array(3).fill({ status: 0, said: '' }));
      expect(anew).toEqual(['held', 'free']);
      expect([stopped, failed]).toEqual([{ unit: 'inactive', left: 0 }, 'inactive']);
      expect(again).toEqual(['online', 'online']);
    });

    test('kill by hand takes the unit down, and it is not called failed', () => {
      expect(booted[user].killed).toBe('inactive');
    });

    test('unstartup takes the unit away and leaves the apps alone', () => {
      expect(booted[user].unstartup).toMatchObject({ status: 0 });
      expect(booted[user]).toMatchObject({ file: false, kept: true });
      expect(booted[user].enabled).toContain('No such file');
    });
  });
});
