// What `startup` writes for init systems: read by their own tools where these are here, else by what reads the same form; the
// scripts of System V and OpenRC are run.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { apps, underTest } from '../lib/under-test.ts';

describe.runIf(underTest === 'ours')('what startup writes', () => {
  let pm: Manager;
  beforeEach(() => {
    pm = new Manager();
    // The home that the files name.
    symlinkSync(pm.home, path.join(pm.dir, '.pm2'));
  });
  afterEach(() => pm.dispose());

  /** The file for an init system, as `name`. */
  async function written(platform: string, name: string, user = 'root'): Promise<string> {
    const words = ['startup', platform, '-u', user, '--hp', pm.dir, '--service-name', 'e2e-svc', '--dry-run'];
    const { stdout } = await pm.ok(...words);
    const text = /^Template\n([\s\S]*?)\n+Target path$/m.exec(stdout)?.[1];
    expect(text, stdout).toBeTruthy();
    const file = path.join(pm.dir, name);
    writeFileSync(file, `${text}\n`, { mode: 0o644 });
    return file;
  }

  test.runIf(existsSync('/usr/bin/systemd-analyze'))('for systemd is taken by systemd-analyze', async () => {
    const file = await written('systemd', 'e2e-svc.service');
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', file], {
      encoding: 'utf8',
    });
    const about = stderr.split('\n').filter((line) => line.includes('e2e-svc'));
    expect([status, about]).toEqual([0, []]);
  });

  test.each(['systemv', 'upstart', 'openrc', 'freebsd', 'openbsd'])(
    'for %s is taken by a shell',
    async (platform) => {
      const file = await written(platform, 'script');
      expect(spawnSync('sh', ['-n', file], { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' });
    },
  );

  test.each([
    ['launchd', 'import plistlib; print(plistlib.load(open(FILE, "rb"))["Label"])'],
    ['smf', 'import xml.etree.ElementTree as tree; print(tree.parse(FILE).getroot().get("name"))'],
  ])('for %s is taken by a parser of its form', async (platform, program) => {
    const file = await written(platform, 'file.xml');
    const said = execFileSync('python3', ['-c', program.replace('FILE', JSON.stringify(file))]);
    expect(said.toString()).toBe('e2e-svc\n');
  });

  const asRoot = test.runIf(process.getuid?.() === 0);
  /** What OpenRC gives its scripts. */
  const openrc = 'RC_SVCNAME=e2e-svc; ebegin() { echo "$1"; }; eend() { return "$1"; }';
  asRoot.each([
    ['systemv', (file: string, verb: string) => ['sh', file, verb]],
    ['openrc', (file: string, verb: string) => ['sh', '-c', `${openrc}; . ${file}; ${verb}`]],
  ] as const)('for %s starts what was saved, reloads it, and ends it', async (platform, command) => {
    await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'saved');
    await pm.ok('save');
    await pm.ok('kill');
    const file = await written(platform, 'script');
    const run = (verb: string) => {
      const [program, ...words] = command(file, verb);
      // As at boot: nothing of the one who set it up is there.
      const env = { PATH: '/usr/bin:/bin:/usr/sbin:/sbin', HOME: '/' };
      const { status, stdout, stderr } = spawnSync(String(program), words, {
        env,
        encoding: 'utf8',
        cwd: '/',
      });
      expect(status, `${verb}: ${stdout}${stderr}`).toBe(0);
      return stdout;
    };
    run('start');
    const { pid } = await pm.status('saved', 'online');
    expect(run('status')).toContain('saved');
    run('reload');
    expect((await pm.status('saved', 'online')).pid).not.toBe(pid);
    run('stop');
    expect(existsSync(path.join(pm.home, 'rpc.sock'))).toBe(false);
  });
});
