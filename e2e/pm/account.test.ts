// An account of a hub on the command line: log in, choose a bucket, link, open, log out.
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Hub, owner } from '../lib/hub.ts';
import { Manager } from '../lib/manager.ts';
import { underTest } from '../lib/under-test.ts';

describe.runIf(underTest === 'ours')('an account', () => {
  let hub: Hub;
  let pm: Manager;
  beforeAll(async () => {
    hub = await Hub.start('--registration');
  });
  afterAll(() => hub.dispose());
  beforeEach(() => {
    // The name of this server at the hub.
    pm = new Manager(undefined, { PM2_MACHINE_NAME: 'e2e-account' });
  });
  afterEach(() => pm.dispose());

  const node = () => ['--info-node', hub.facts.url];
  const tokenFile = () => path.join(pm.home, 'pm2-io-token');

  test('login by password lists the buckets, links to the one that is chosen, and keeps no password', async () => {
    const { code, stdout, stderr } = await pm.runWithInput(
      `${owner.email}\n${owner.password}\n1\n`,
      'login',
      ...node(),
    );
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain(`Logged in to ${hub.facts.url}`);
    expect(stdout).toMatch(/ {2}1\) .+ \(plan /);
    expect(stdout).toContain('[v] Linked: e2e-account is shown at');
    await hub.server('e2e-account');
    const kept = readFileSync(tokenFile(), 'utf8');
    expect(kept).not.toContain(owner.password);
    expect(stdout).not.toContain(owner.password);
    expect(statSync(tokenFile()).mode & 0o777).toBe(0o600);
    expect((await pm.ok('open')).stdout).toBe(`${hub.facts.url}/#/r/${hub.facts.public_key}\n`);
    // Logged in is logged in: only the bucket is asked for.
    expect((await pm.runWithInput('none\n', 'plus')).stdout).toContain('Nothing was linked');
    const out = await pm.ok('logout');
    expect(out.stdout).toContain('Logged out');
    expect(existsSync(tokenFile())).toBe(false);
    // The hub knows the token no longer.
    const { refresh_token } = JSON.parse(kept);
    const again = await pm.run('login', '--token', refresh_token, ...node());
    expect([again.code, existsSync(tokenFile())]).toEqual([1, false]);
    expect(again.stderr).toMatch(/refused \(HTTP 400\): the refresh token is unknown or was revoked/);
    expect((await pm.ok('logout')).stdout).toContain('Nobody is logged in');
  });

  test('a token instead of a password, and a bucket by name, ask nothing; logout leaves that token alone', async () => {
    await hub.login();
    const made = await hub.api('PUT', '/api/users/token', { scope: ['all'] });
    const token = made.body.refresh_token ?? made.body.token;
    const { body: buckets } = await hub.api('GET', '/api/bucket');
    const program = pm.with(pm.program, ['plus', 'login', '--bucket', buckets[0].name, ...node()], {
      env: { PM2_IO_TOKEN: token },
    });
    expect(await program).toMatchObject({ code: 0, stdout: expect.stringContaining('[v] Linked') });
    await pm.ok('logout');
    const twice = await pm.run('login', '--token', token, '--bucket', 'none', ...node());
    expect(twice).toMatchObject({ code: 0, stdout: expect.stringContaining('Nothing was linked') });
  });

  test('register makes an account, and its first bucket', async () => {
    const { code, stdout, stderr } = await pm.runWithInput(
      'newcomer@example.com\na long enough password\nPM2 Plus Monitoring\n',
      'register',
      '--username',
      'newcomer',
      ...node(),
    );
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain('Account newcomer was made');
    expect(stdout).toContain('There was no bucket; made PM2 Plus Monitoring');
    expect(stdout).toContain('[v] Linked');
  });

  test('what can not work is said, with what to do', async () => {
    const said = async (input: string, ...args: string[]) => {
      const { code, stderr } = await pm.runWithInput(input, ...args);
      expect(code, args.join(' ')).toBe(1);
      return stderr;
    };
    expect(await said('', 'login')).toMatch(/which hub\? Say its address by --info-node/);
    expect(await said('', 'open')).toMatch(/not linked: pm2 plus/);
    expect(await said('', 'plus', 'link')).toMatch(/nobody is logged in: pm2 login/);
    expect(await said('', 'plus', 'what')).toMatch(/say plus login, register, link, open or logout/);
    expect(await said('', 'login', ...node())).toMatch(/a username is needed/);
    expect(await said('me\nwrong password\n', 'login', ...node())).toMatch(/refused \(HTTP 400\)/);
    expect(await said('', 'login', '--info-node', 'http://127.0.0.1:1')).toMatch(/a username is needed/);
    expect(await said('a\nb\n', 'login', '--info-node', 'http://127.0.0.1:1')).toMatch(
      /connecting to 127\.0\.0\.1:1/,
    );
    expect(await said('', 'login', '--info-node', 'nonsense://x')).toMatch(/is not understood/);
    const { refresh_token } = await hub.login();
    expect(await said('', 'login', '--token', refresh_token, '--bucket', 'nowhere', ...node())).toMatch(
      /no bucket nowhere; there are: /,
    );
    writeFileSync(tokenFile(), 'spoilt {');
    expect(await said('', 'plus')).toMatch(/pm2-io-token is not a login \(line 1\)/);
  });
});
