// Apps of another user. Only root can give processes away, so only root can run these tests.
import { chmodSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { underTest } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

const asRoot = test.runIf(process.getuid?.() === 0);

/** An app that tells who it is. */
const teller = () => {
  const file = path.join(pm.dir, 'who.js');
  writeFileSync(
    file,
    `console.log('WHO ' + JSON.stringify({ uid: process.getuid(), gid: process.getgid(), groups: process.getgroups(), home: process.env.HOME }));
setInterval(() => {}, 1000);`,
  );
  // The folder is for its owner alone otherwise.
  chmodSync(pm.dir, 0o755);
  return file;
};
const told = (name: string) =>
  until(`${name} said who it is`, () => {
    const line = /WHO (.*)/.exec(pm.file('logs', `${name}-out.log`));
    return line?.[1] && JSON.parse(line[1]);
  });

asRoot('uid by name: its user, main group and home', async () => {
  await pm.ok('start', teller(), '--uid', 'nobody');
  expect(await told('who')).toMatchObject({ uid: 65534, gid: 65534, home: '/nonexistent' });
  const { pm2_env } = await pm.app('who');
  expect([pm2_env.uid, pm2_env.gid]).toEqual([65534, 65534]);
});

asRoot('uid by number, and a group of its own choice', async () => {
  await pm.ok('start', teller(), '--uid', '65534', '--gid', 'daemon');
  const who = await told('who');
  expect(who).toMatchObject({ uid: 65534, gid: 1 });
  // Root's own groups are no business of it.
  if (underTest === 'ours') expect(who.groups).not.toContain(0);
});

asRoot('a restart keeps the user', async () => {
  await pm.ok('start', teller(), '--uid', 'nobody');
  await told('who');
  await pm.ok('flush');
  await pm.ok('restart', 'who');
  expect(await told('who')).toMatchObject({ uid: 65534 });
});

asRoot('a user that is not there is named', async () => {
  const { code, stderr } = await pm.run('start', teller(), '--uid', 'no-such-user');
  expect(code).toBe(1);
  expect(stderr).toContain('User no-such-user cannot be found');
  expect(await pm.list()).toEqual([]);
});
