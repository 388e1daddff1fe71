// Every verb with good and bad words: exit code and the essential line are the same on both sides. One home for all; each row
// builds on the ones before it.
import { copyFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Manager, type Outcome } from '../lib/manager.ts';
import { apps } from '../lib/under-test.ts';

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
  ['trigger', 1, "error: missing required argument `id|proc_name|namespace|all'"],
  ['trigger prints', 1, "error: missing required argument `action_name'"],
  ['inspect', 1, "error: missing required argument `name'"],
  ['attach', 1, "error: missing required argument `pm_id'"],
  ['pull', 1, "error: missing required argument `name'"],
  ['forward', 1, "error: missing required argument `name'"],
  ['backward', 1, "error: missing required argument `name'"],
  ['install', 1, 'error: missing required argument `module'],
  ['uninstall', 1, "error: missing required argument `module'"],
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
  ['trigger nobody act', 1, 'Not any process has received a command (offline or unexistent)'],
  ['inspect nobody', 0, 'Unable to activate inspect mode on nobody !!!'],
  ['attach nobody', 1, 'pm_id must be a process number (not a process name)'],
  ['pull nobody', 1, /No processes with this name or id ?: nobody/],
  ['forward nobody', 1, /No processes with this name or id ?: nobody/],
  ['backward nobody', 1, /No processes with this name or id ?: nobody/],
  ['uninstall nobody', 1, 'Unknown module'],
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
  ['get other', 0, /Module: other\n\$ pm2 set other:key value\n/],
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
