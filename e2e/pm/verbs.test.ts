// Every verb with good and bad words: exit code and the essential line are the same on both sides. One home for all; each row
// builds on the ones before it.
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Manager, type Outcome } from '../lib/manager.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';

let pm: Manager;
beforeAll(async () => {
  pm = new Manager();
  copyFileSync(path.join(apps, 'prints.js'), path.join(pm.dir, 'prints.js'));
  copyFileSync(path.join(apps, 'stubborn.js'), path.join(pm.dir, 'twin.js'));
  await pm.ok('start', 'prints.js');
  await pm.ok('start', 'twin.js', '-i', '2', '-x', '--namespace', 'pair');
});
afterAll(() => pm.dispose());

const said = ({ stdout, stderr }: Outcome) => stdout + stderr;
const none = /^$/;

/** [line, exit code, what is said] */
const rows: [string, number, string | RegExp][] = [
  // Missing, unknown, too many.
  ['stop', 1, "error: missing required argument `id|name|namespace|all|json|stdin'"],
  ['restart', 1, "error: missing required argument `id|name|namespace|all|json|stdin'"],
  ['reload', 1, "error: missing required argument `id|name|namespace|all'"],
  ['delete', 1, "error: missing required argument `name|id|namespace|script|all|json|stdin'"],
  ['describe', 1, "error: missing required argument `name|id'"],
  ['env', 1, "error: missing required argument `id'"],
  ['id', 1, "error: missing required argument `name'"],
  ['reset', 1, "error: missing required argument `name|id|all'"],
  ['scale', 1, "error: missing required argument `app_name'"],
  ['scale prints', 1, "error: missing required argument `number'"],
  ['send', 1, "error: missing required argument `pm_id'"],
  ['send 0', 1, "error: missing required argument `line'"],
  ['sendSignal', 1, "error: missing required argument `signal'"],
  ['sendSignal SIGHUP', 1, "error: missing required argument `pm2_id|name'"],
  ['startOrRestart', 1, "error: missing required argument `json'"],
  ['startOrReload', 1, "error: missing required argument `json'"],
  ['startOrGracefulReload', 1, "error: missing required argument `json'"],
  ['multiset', 1, "error: missing required argument `value'"],
  ['unset', 1, "error: missing required argument `key'"],
  ['config', 1, "error: missing required argument `key'"],
  ['start --name', 1, "error: option `-n --name <name>' argument missing"],
  ['list --nope', 1, "error: unknown option `--nope'"],
  ['scale twin -1', 1, "error: unknown option `-1'"],
  ['nosuch', 1, 'Command not found'],
  ['save x', 1, 'Unknown command argument: x'],
  ['dump x', 1, 'Unknown command argument: x'],
  ['cleardump x', 1, 'Unknown command argument: x'],
  ['resurrect x', 1, 'Unknown command argument: x'],
  ['prettylist x', 1, 'Unknown command argument: x'],
  ['kill x', 1, 'Unknown command argument: x'],
  ['list x', 0, '│ twin'],
  ['ping x', 0, "{ msg: 'pong' }"],

  // Targets that are not there.
  ['stop nobody', 1, 'Process or Namespace nobody not found'],
  ['stop 99', 1, '99 : id unknown'],
  ['restart nobody', 1, 'Process or Namespace nobody not found'],
  ['restart 99', 1, 'God db process id unknown'],
  ['reload nobody', 1, 'Process or Namespace nobody not found'],
  ['delete nobody', 1, 'Process or Namespace nobody not found'],
  ['delete 99', 1, '99 : id unknown'],
  ['delete /zzz/', 1, 'No process found'],
  ['describe nobody', 1, "nobody doesn't exist"],
  ['env nobody', 1, 'Modules with id nobody not found'],
  ['env 99', 1, 'Modules with id 99 not found'],
  ['env prints', 1, 'Modules with id prints not found'],
  ['reset nobody', 1, 'Unknown process name'],
  ['scale nobody 2', 1, 'Application nobody not found'],
  ['start nobody.js', 1, 'Script not found'],
  ['start nobody.json', 1, 'File nobody.json not found'],
  ['startOrRestart nobody', 1, 'File nobody not found'],
  ['startOrReload nobody.json', 1, 'File nobody.json not found'],
  ['start twin.js -x --namespace pair', 1, 'Script already launched, add -f option to force re-execution'],
  ['unmonitor', 1, 'Please specify an <app_name|pm_id>'],
  ['restart prints --env x', 1, 'Using --env [env] without passing the ecosystem.config.js does not work'],

  // Questions.
  ['pid nobody', 0, /^\n$/],
  ['pid prints', 0, /^\d+\n$/],
  ['pid twin', 0, /^\d+\n\d+\n$/],
  ['id prints', 0, /^\[ 0 \]\n$/],
  ['id twin', 0, /^\[ 1, 2 \]\n$/],
  ['id nobody', 0, /^\[\]\n$/],
  ['describe 0', 0, 'Describing process with id 0 - name prints'],
  ['show twin', 0, 'Describing process with id 2 - name twin'],
  ['list --sort name:desc', 0, /twin[\s\S]*prints/],
  ['list --sort pid', 0, /prints[\s\S]*twin/],
  ['list --sort nope', 0, /prints[\s\S]*twin/],
  ['ls -m', 0, /\+--- prints\nnamespace : default\n/],
  ['l', 0, '│ prints'],
  ['ps', 0, '│ prints'],
  ['status', 0, '│ prints'],
  ['examples', 0, 'usage examples:'],

  // reset, scale, signals, standard input.
  ['reset prints', 0, 'Resetting meta for process id 0'],
  ['reset 0', 0, 'Resetting meta for process id 0'],
  ['reset all', 0, 'Resetting meta for process id 2'],
  ['sendSignal SIGCONT 0', 0, 'successfully sent signal SIGCONT to process id 0'],
  ['sendSignal SIGCONT prints', 0, 'successfully sent signal SIGCONT to process name prints'],
  ['sendSignal NOPE 0', 1, 'Error when sending signal (signal unknown)'],
  ['sendSignal NOPE prints', 1, /signal/i],
  ['sendSignal SIGCONT 99', 1, '99 id unknown'],
  ['sendSignal SIGCONT nobody', 1, 'Unknown process name'],
  ['send 0 hello', 0, '│ prints'],
  ['send 99 hello', 1, 'Error: Process with ID <99> unknown.'],
  ['send prints hello', 1, 'Error: Process with ID <prints> unknown.'],
  ['scale twin 2', 1, 'Nothing to do'],
  ['scale twin +1', 0, 'Scaling up application'],
  ['scale twin 2', 0, 'Applying action deleteProcessId on app [1](ids: [ 1 ])'],
  ['scale twin x', 1, '[PM2][ERROR]'],

  // What is kept.
  ['save', 0, 'Successfully saved in'],
  ['cleardump', 0, 'Successfully created'],
  ['flush nobody', 0, 'Logs flushed'],
  ['flush 0', 0, /Flushing:[\s\S]*prints-out\.log[\s\S]*Logs flushed/],
  ['reloadLogs', 0, /Reloading all logs\.\.\.[\s\S]*All logs reloaded/],

  // Configuration values.
  ['get nobody', 1, ''],
  ['get', 0, none],
  ['set other:key value', 0, /Setting changed\nModule: other\n\$ pm2 set other:key value\n/],
  ['get other:key', 0, 'Value for module other key key: value'],
  ['get other:nope', 1, ''],
  ['get other', 0, /Module: other\n\$ pm2 set other:key value\nModules configuration/],
  ['conf', 0, '$ pm2 set other:key value'],
  ['conf other:key changed', 0, '$ pm2 set other:key value'],
  ['config other', 0, '$ pm2 set other:key value'],
  ['config other:key third', 0, 'Setting changed'],
  ['get other:key', 0, 'Value for module other key key: third'],
  ['get all', 0, '$ pm2 set other:key third'],
  ['unset other:key', 0, ''],
  ['get other:key', 1, ''],
  ['unset nobody:x', 0, ''],
  ['unset all', 0, none],
  ['get', 0, none],

  // Several targets, patterns, namespaces; then nothing is left.
  ['stop prints twin', 0, /Applying action stopProcessId on app \[prints\][\s\S]*on app \[twin\]/],
  ['restart pair', 0, 'Applying action restartProcessId on app [pair](ids: [ 2, 3 ])'],
  ['restart 0', 0, "Applying action restartProcessId on app [0](ids: [ '0' ])"],
  ['stop nobody prints', 1, 'Process or Namespace nobody not found'],
  ['stop /^tw/', 0, 'Applying action stopProcessId on app [/^tw/](ids: [ 2, 3 ])'],
  ['delete /prin/ twin', 0, /on app \[\/prin\/\][\s\S]*on app \[twin\]/],
  ['delete all', 1, 'No process found'],
  ['stop all', 1, 'No process found'],
  ['restart all', 1, 'No process found'],
  ['reload all', 1, 'No process found'],
  ['save', 0, 'PM2 is not managing any process, skipping save...'],
  ['save --force', 0, 'Successfully saved in'],
];

test.each(rows.map(([line, code, text], at) => ({ at, line, code, text })))(
  '$at: $line → $code',
  async ({ line, code, text }) => {
    const outcome = await pm.run(...line.split(' '));
    expect(said(outcome)).toMatch(text);
    expect(outcome.code).toBe(code);
  },
);

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

onlyOurs('completion installs itself into bash, and out of it', async () => {
  await pm.ok('start', 'prints.js', '--name', 'by-bash');
  const env = { HOME: pm.dir, SHELL: '/bin/bash' };
  const rc = path.join(pm.dir, '.bashrc');
  writeFileSync(rc, 'export MINE=1\n');
  await pm.with(pm.program, ['completion', 'install'], { env });
  await pm.with(pm.program, ['completion', 'install'], { env });
  const script = `. ${rc}; COMP_WORDS=(pm2 stop by); COMP_CWORD=2; COMP_LINE='pm2 stop by'; _pm2_completion; echo "$MINE \${COMPREPLY[*]}"`;
  const PATH = `${path.dirname(pm.program.path)}:${process.env.PATH}`;
  const bash = { path: '/bin/bash', node: false };
  expect((await pm.with(bash, ['-c', script], { env: { ...env, PATH } })).stdout).toBe('1 by-bash\n');
  await pm.with(pm.program, ['completion', 'uninstall'], { env });
  expect(readFileSync(rc, 'utf8')).toBe('export MINE=1\n');
  expect((await pm.ok('completion', 'fish')).stdout).toContain('complete -c pm2');
  await pm.ok('delete', 'by-bash');
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
