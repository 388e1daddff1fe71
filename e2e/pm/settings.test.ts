// What verbs leave behind: values that were set, files that were written, shells that complete.
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Manager, type Outcome } from '../lib/manager.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';

let pm: Manager;
beforeAll(() => {
  pm = new Manager();
  copyFileSync(path.join(apps, 'prints.js'), path.join(pm.dir, 'prints.js'));
});
afterAll(() => pm.dispose());

test('set of a value restarts the app of that name, which finds it in its environment', async () => {
  await pm.ok('start', 'prints.js', '--name', 'conf');
  expect((await pm.ok('set', 'conf:probes', 'true')).stdout).toContain('Module conf restarted');
  const { pm2_env } = await pm.app('conf');
  expect(pm2_env.restart_time).toBe(1);
  expect(pm2_env.env.probes).toBe('true');
  expect(JSON.parse(pm2_env.env.conf)).toEqual({ probes: 'true' });
  expect(JSON.parse(pm.file('module_conf.json'))).toEqual({ conf: { probes: 'true' } });
  await pm.ok('multiset', 'conf:a 1 conf:b two');
  const after = (await pm.app('conf')).pm2_env;
  expect([after.env.a, after.env.b, after.env.probes]).toEqual(['1', 'two', 'true']);
  await pm.ok('delete', 'conf');
  await pm.ok('unset', 'all');
});

test('nested keys', async () => {
  await pm.ok('set', 'deep.a.b', '5');
  expect(JSON.parse(pm.file('module_conf.json'))).toEqual({ deep: { a: { b: '5' } } });
  expect((await pm.ok('get', 'deep.a.b')).stdout).toMatch(/: 5\n/);
  await pm.ok('unset', 'all');
});

onlyOurs('keys that mean something else to JavaScript are refused', async () => {
  for (const key of ['__proto__:polluted', 'x:constructor', 'prototype']) {
    const { code, stderr } = await pm.run('set', key, '1');
    expect(code).toBe(1);
    expect(stderr).toContain('reserved');
  }
  expect(pm.file('module_conf.json')).toBe('{}');
});

onlyOurs('a key without a value shows what is stored, and forgets nothing', async () => {
  await pm.ok('set', 'kept:key', 'value');
  expect((await pm.ok('set', 'kept')).stdout).toContain('kept:key value');
  expect(JSON.parse((await pm.ok('get', 'kept', '--json')).stdout)).toEqual({ key: 'value' });
  await pm.ok('unset', 'all');
});

test('env shows the variables of an app', async () => {
  await pm.ok('start', 'prints.js', '--name', 'vars');
  const { pm_id } = await pm.app('vars');
  const lines = (await pm.ok('env', String(pm_id))).stdout.split('\n');
  expect(lines).toContain(`PM2_HOME: ${pm.home}`);
  expect(lines).toContain('NODE_APP_INSTANCE: 0');
  expect(lines).toContain(`PATH: ${process.env.PATH}`);
  const names = lines.map((line) => line.split(':')[0]);
  for (const own of ['pm_exec_path', 'status', 'restart_time', 'axm_monitor', 'env', 'name'])
    expect(names).not.toContain(own);
  await pm.ok('delete', 'vars');
});

test('prettylist is the list as node shows an object', async () => {
  await pm.ok('start', 'prints.js', '--name', 'pretty', '--', 'a', "it's");
  const { stdout } = await pm.ok('prettylist');
  expect(stdout).toMatch(/^\[\n {2}\{\n {4}pid: \d+,\n {4}name: 'pretty',\n {4}pm2_env: \{\n/);
  expect(stdout).toContain(`      args: [ 'a', "it's" ],\n`);
  expect(stdout).toMatch(/ {4}monit: \{ memory: \d+, cpu: [\d.]+ \}\n {2}\}\n\]$/);
  await pm.ok('delete', 'pretty');
});

test('completion answers with what can stand there', async () => {
  await pm.ok('start', 'prints.js', '--name', 'api-one');
  const ask = async (...words: string[]) => {
    const line = words.join(' ');
    const outcome = await pm.with(pm.program, ['completion', '--', ...words], {
      env: {
        COMP_CWORD: String(words.length - 1),
        COMP_LINE: line,
        COMP_POINT: String(line.length),
        SHELL: '/bin/bash',
      },
    });
    return outcome.stdout.split('\n').filter(Boolean);
  };
  const verbs = await ask('pm2', 'sta');
  for (const verb of ['start', 'startOrRestart', 'startOrReload', 'startup', 'status'])
    expect(verbs).toContain(verb);
  expect(verbs).not.toContain('stop');
  expect(await ask('pm2', 'stop', 'api')).toEqual(['api-one']);
  await pm.ok('delete', 'api-one');
});

test('init writes a file that start takes', async () => {
  const file = path.join(pm.dir, 'ecosystem.config.js');
  for (const words of [['init'], ['ecosystem', 'anything'], ['init', 'simple']]) {
    // PM2 takes the folder from PWD, as a shell keeps it.
    const { code, stdout } = await pm.with(pm.program, words, { env: { PWD: pm.dir } });
    expect(code).toBe(0);
    expect(stdout).toContain(`File ${file} generated`);
    expect(readFileSync(file, 'utf8')).toMatch(/module\.exports *= *\{\s*apps/);
  }
  writeFileSync(file, readFileSync(file, 'utf8').replace(/(script *: *)["'][^"']*["']/, '$1"./prints.js"'));
  await pm.ok('start');
  const [entry] = await pm.list();
  expect(entry?.pm2_env.pm_exec_path).toBe(path.join(pm.dir, 'prints.js'));
  await pm.ok('delete', 'all');
});

onlyOurs('init puts aside what was there', async () => {
  const file = path.join(pm.dir, 'ecosystem.config.js');
  writeFileSync(file, '// mine');
  await pm.ok('init', 'simple');
  expect(readFileSync(`${file}.bak`, 'utf8')).toBe('// mine');
});

/** Runs a verb as somebody who may not change the system. */
function asNobody(...args: string[]): Promise<Outcome> {
  const [program, first] = pm.program.node ? [process.execPath, [pm.program.path]] : [pm.program.path, []];
  if (process.getuid?.() !== 0) return pm.run(...args);
  const drop = ['--reuid', '65534', '--regid', '65534', '--clear-groups', program, ...first, ...args];
  return pm.with({ path: 'setpriv', node: false }, drop, { env: { PM2_HOME: path.join(pm.dir, 'open') } });
}

test('startup and unstartup tell who may not run them what to type', async () => {
  mkdirSync(path.join(pm.dir, 'open'));
  for (const folder of [pm.dir, path.join(pm.dir, 'open')]) chmodSync(folder, 0o777);
  for (const verb of ['startup', 'unstartup']) {
    const { code, stdout } = await asNobody(verb, 'systemd', '-u', 'nobody', '--hp', '/var/www');
    expect(code).toBe(1);
    expect(stdout).toMatch(new RegExp(`sudo env PATH=\\$PATH:\\S+ \\S+ ${verb} systemd -u nobody --hp \\S+`));
  }
});

onlyOurs(
  'startup --dry-run shows the file and the commands of each init system, and does nothing',
  async () => {
    for (const [platform, file, command] of [
      ['systemd', '/etc/systemd/system/pm2-www.service', 'systemctl enable pm2-www'],
      ['upstart', '/etc/init.d/pm2-www', 'update-rc.d pm2-www defaults'],
      ['openrc', '/etc/init.d/pm2', 'rc-update add pm2 default'],
      ['launchd', '/Library/LaunchAgents/pm2.www.plist', 'launchctl load -w'],
      ['freebsd', '/usr/local/etc/rc.d/pm2_www', 'sysrc pm2_www_enable=YES'],
    ] as const) {
      const { stdout } = await pm.ok('startup', platform, '-u', 'www', '--hp', '/var/www', '--dry-run');
      expect(stdout).toContain(file);
      expect(stdout).toContain(command);
      expect(stdout).toContain('/var/www/.pm2');
      expect(existsSync(file)).toBe(false);
    }
    expect((await pm.run('startup', 'nosuch')).stderr).toContain('Unknown platform / init system name');
    const { stdout } = await pm.ok('logrotate', '-u', 'www', '--hp', '/var/www', '--dry-run');
    expect(stdout).toMatch(/\/var\/www\/\.pm2\/logs\/\*\.log \{/);
  },
);
