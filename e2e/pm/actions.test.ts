// Calling into running apps: trigger, inspect, attach, send.
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { apps, onlyOurs } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
beforeEach(() => {
  pm = new Manager();
});
afterEach(() => pm.dispose());

/** Starts the app that offers actions, and waits until the daemon knows them. */
async function offer(name: string, ...options: string[]) {
  await pm.ok('start', path.join(apps, 'acts.js'), '--name', name, '-f', ...options);
  await until(
    `the actions of ${name} are known`,
    async () => (await pm.app(name)).pm2_env.axm_actions.length >= 6,
  );
}

describe('trigger', () => {
  test('trigger calls an action of an app', async () => {
    await offer('one');
    const { stdout } = await pm.ok('trigger', 'one', 'hello');
    expect(stdout).toBe('1 processes have received command hello\n[one:0:default]={"said":"hi"}\n');
    expect((await pm.ok('trigger', '0', 'text')).stdout).toContain('[one:0:default]="some text"\n');
    expect((await pm.ok('trigger', 'one', 'nothing')).stdout).toContain('[one:0:default]=undefined\n');
  });

  test('a parameter is handed over as text', async () => {
    await offer('one');
    const { stdout } = await pm.ok('trigger', 'one', 'hello', '{"a":1}');
    expect(stdout).toContain('[one:0:default]={"said":"hi","opts":"{\\"a\\":1}"}\n');
  });

  test('a namespace and all address everyone who offers it', async () => {
    await offer('one');
    await offer('two', '--namespace', 'web');
    const all = (await pm.ok('trigger', 'all', 'text')).stdout;
    expect(all).toContain('2 processes have received command text\n');
    expect(all).toContain('[one:0:default]="some text"\n');
    expect(all).toContain('[two:1:web]="some text"\n');
    const web = (await pm.ok('trigger', 'web', 'text')).stdout;
    expect(web).toBe('1 processes have received command text\n[two:1:web]="some text"\n');
  });

  test('what nobody offers is an error', async () => {
    await offer('one');
    const none = 'Not any process has received a command (offline or unexistent)';
    for (const [target, action, words] of [
      ['one', 'nope', none],
      ['nobody', 'hello', none],
      ['0', 'nope', "Action doesn't exist nope for one"],
      ['99', 'hello', '99 id unknown'],
    ]) {
      const { code, stderr } = await pm.run('trigger', target as string, action as string);
      expect({ code, said: stderr.trim() }).toEqual({ code: 1, said: words });
    }
    for (const words of [[], ['one']]) expect((await pm.run('trigger', ...words)).code).toBe(1);
  });

  onlyOurs('an app that does not answer, or ends, is not waited for for ever', async () => {
    await offer('one');
    const silent = await pm.run('trigger', 'one', 'never', '--timeout', '200ms');
    expect(silent.code).toBe(1);
    expect(silent.stderr).toContain('1 of 1 processes did not answer never in time');
    const dead = await pm.run('trigger', 'one', 'die');
    expect(dead.code).toBe(1);
    expect(dead.stderr).toContain('one:0 ended before it answered die');
  });
});

test('inspect tells what the app made of it', async () => {
  await pm.ok('start', path.join(apps, 'prints.js'), '--name', 'plain');
  await offer('off');
  const on = await pm.with(pm.program, ['start', path.join(apps, 'acts.js'), '--name', 'on', '-f'], {
    env: { INSPECT: 'ws://127.0.0.1/x' },
  });
  expect(on.code).toBe(0);
  await until('the actions are known', async () => (await pm.app('on')).pm2_env.axm_actions.length >= 6);
  expect((await pm.ok('inspect', 'off')).stdout).toContain('Inspect disabled on off\n');
  expect((await pm.ok('inspect', 'on')).stdout).toContain(
    'Inspect enabled on on => go to chrome : chrome://inspect !!!\n',
  );
  const plain = await pm.ok('inspect', 'plain');
  expect(plain.stdout).toBe('Unable to activate inspect mode on plain !!!\n');
  expect(plain.stderr).toContain('Not any process has received a command');
});

describe('standard input', () => {
  test('attach sends what is typed and shows what is printed', async () => {
    await offer('one');
    const terminal = pm.follow('attach', '0');
    terminal.type('first\n');
    await until('the answer', () => terminal.text().includes('typed "first\\n"\n'));
    await until('its errors', () => terminal.text().includes('complains of 6 characters\n'));
    terminal.type('second line\n');
    await until('the next answer', () => terminal.text().includes('typed "second line\\n"\n'));
    terminal.closeInput();
    expect(await terminal.ended).toBe(0);
  });

  test('attach ends lines as it is told', async () => {
    await offer('one');
    const terminal = pm.follow('attach', '0', ';;');
    terminal.type('a;b\n');
    await until('the answer', () => terminal.text().includes('typed "a;b;;"\n'));
    terminal.end();
  });

  test('attach needs the number of a process', async () => {
    const outcome = await pm.run('attach', 'one');
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toContain('pm_id must be a process number (not a process name)');
  });

  onlyOurs('attach to a process that is not there is an error at once', async () => {
    const outcome = await pm.run('attach', '99');
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toContain('Process with ID <99> unknown.');
  });

  test('send writes a line', async () => {
    await offer('one');
    await pm.ok('send', '0', 'hello there');
    await until('it is heard', () => pm.file('logs', 'one-out.log').includes('typed "hello there\\n"\n'));
    const { code, stderr } = await pm.run('send', '99', 'x');
    expect(code).toBe(1);
    expect(stderr).toContain('Process with ID <99> unknown.');
  });
});
