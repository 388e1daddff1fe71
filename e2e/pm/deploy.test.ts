// `deploy`: hosts are reached by ssh; a program of that name on PATH stands for it and runs the command here.
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { hasSshd, Sshd } from '../lib/sshd.ts';
import { onlyOurs } from '../lib/under-test.ts';

let pm: Manager;
let work: string;
let target: string;
beforeEach(() => {
  pm = new Manager();
  work = path.join(pm.dir, 'work');
  target = path.join(pm.dir, 'target');
  const bin = path.join(pm.dir, 'bin');
  mkdirSync(bin);
  // The options of ssh that have a value, then the host, then the command.
  writeFileSync(
    path.join(bin, 'ssh'),
    `#!/bin/bash
echo "$*" >> ${pm.dir}/ssh.log
while :; do case "$1" in -o|-p|-i) shift 2;; -*) shift;; *) break;; esac; done
shift
cd / && exec bash -c "$*"
`,
  );
  chmodSync(path.join(bin, 'ssh'), 0o755);
  git('..', 'init', '--quiet', '--bare', 'origin.git');
  git('..', 'clone', '--quiet', 'origin.git', 'work');
});
afterEach(() => pm.dispose());

function env(): Record<string, string> {
  const someone = {
    GIT_AUTHOR_NAME: 'a',
    GIT_AUTHOR_EMAIL: 'a@b',
    GIT_COMMITTER_NAME: 'a',
    GIT_COMMITTER_EMAIL: 'a@b',
  };
  return {
    ...someone,
    GIT_CONFIG_GLOBAL: '/dev/null',
    PATH: `${path.join(pm.dir, 'bin')}:${process.env.PATH}`,
  };
}

function git(where: string, ...args: string[]): string {
  const cwd = where === '..' ? pm.dir : work;
  return execFileSync('git', args, {
    cwd,
    env: { ...process.env, ...env() },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
    .toString()
    .trim();
}

/** A new state of the repository, pushed. */
function publish(content: string): string {
  writeFileSync(path.join(work, 'file'), content);
  git('.', 'add', '-A');
  git('.', 'commit', '--quiet', '-m', content);
  git('.', 'push', '--quiet', '-u', 'origin', 'HEAD:main');
  return git('.', 'rev-parse', '--short', 'HEAD');
}

function configure(more: object = {}) {
  const production = {
    user: 'deployer',
    host: 'far.example.com',
    ref: 'origin/main',
    repo: path.join(pm.dir, 'origin.git'),
    path: target,
    key: '/keys/id',
    ssh_options: ['StrictHostKeyChecking=no', 'ConnectTimeout=3'],
    'forward-agent': 'yes',
    env: { a_variable: 'plain' },
    'pre-deploy-local': 'echo before >> ../local',
    'post-deploy': 'sh post.sh',
    ...more,
  };
  writeFileSync(
    path.join(work, 'post.sh'),
    'echo "$A_VARIABLE|$(cat file)|$(pwd -P)" >> ../done; echo "$SSH_CONNECTION" > ../way\n',
  );
  writeFileSync(path.join(work, 'ecosystem.json'), JSON.stringify({ apps: [], deploy: { production } }));
  git('.', 'checkout', '--quiet', '-B', 'main');
}

const run = (...args: string[]) => pm.with(pm.program, ['deploy', ...args], { cwd: work, env: env() });
const ok = async (...args: string[]) => {
  const outcome = await run(...args);
  expect(`${outcome.code} ${args.join(' ')} ${outcome.stdout}${outcome.stderr}`).toMatch(/^0 /);
  return outcome;
};
const deployed = () => readFileSync(path.join(target, 'current/file'), 'utf8');

test('deploy setup, update, revert, curr, list and exec', async () => {
  configure();
  const first = publish('one');
  const { stdout } = await ok('production', 'setup');
  expect(stdout).toContain('--> Deploying to production environment');
  expect(stdout).toContain('--> on host far.example.com');
  expect(stdout).toContain('--> Success');
  for (const folder of ['shared/logs', 'shared/pids', 'source/.git']) {
    expect(existsSync(path.join(target, folder)), folder).toBe(true);
  }
  expect(realpathSync(path.join(target, 'current'))).toBe(realpathSync(path.join(target, 'source')));
  await ok('ecosystem.json', 'production');
  expect(deployed()).toBe('one');
  const second = publish('two');
  await ok('production', 'update');
  expect(deployed()).toBe('two');
  const done = () => readFileSync(path.join(target, 'done'), 'utf8').trim().split('\n');
  expect(done()).toEqual(
    ['one', 'two'].map((text) => `plain|${text}|${realpathSync(path.join(target, 'source'))}`),
  );
  expect(readFileSync(path.join(pm.dir, 'local'), 'utf8')).toBe('before\nbefore\n');
  expect((await ok('production', 'curr')).stdout).toContain(second);
  const { stdout: list } = await ok('production', 'list');
  expect(list).toMatch(new RegExp(`0\\s+${second}`));
  expect(list).toMatch(new RegExp(`1\\s+${first}`));
  expect((await ok('production', 'exec', 'cat file; echo here')).stdout).toContain('two');
  await ok('production', 'revert', '1');
  expect(deployed()).toBe('one');
  // How it got there.
  expect(readFileSync(path.join(pm.dir, 'ssh.log'), 'utf8')).toMatch(
    /^-o StrictHostKeyChecking=no -o ConnectTimeout=3 .*-A.* deployer@far\.example\.com /m,
  );
});

test('deploy refuses what is not published', async () => {
  configure();
  publish('one');
  await ok('production', 'setup');
  appendFileSync(path.join(work, 'file'), 'more');
  const dirty = await run('production');
  expect(dirty.code).toBe(1);
  expect(dirty.stdout + dirty.stderr).toContain('commit or stash your changes before deploying');
  git('.', 'commit', '--quiet', '-am', 'more');
  const unpushed = await run('production');
  expect(unpushed.code).toBe(1);
  expect(unpushed.stdout + unpushed.stderr).toContain('push your changes before deploying');
  await ok('production', '--force');
  expect(deployed()).toBe('one');
});

test('deploy: a step that fails ends it with 1', async () => {
  configure({ 'post-deploy': 'exit 3' });
  publish('one');
  await ok('production', 'setup');
  const { code, stdout, stderr } = await run('production');
  expect(code).toBe(1);
  expect(stdout + stderr).toContain('Deploy failed');
  expect(stdout).not.toContain('--> Success');
});

test('deploy names what is missing, and helps', async () => {
  configure();
  publish('one');
  const unknown = await run('staging');
  expect(unknown.code).toBe(1);
  expect(unknown.stderr).toContain('staging environment is not defined in ecosystem.json file');
  configure({ repo: undefined });
  const incomplete = await run('production', 'setup');
  expect(incomplete.code).toBe(1);
  expect(incomplete.stdout + incomplete.stderr).toContain('Missing required property: repo');
  const { stdout } = await ok('help');
  expect(stdout).toContain('revert');
});

onlyOurs('deploy to several hosts, a path with blanks, a script as pre-setup, this machine', async () => {
  target = path.join(pm.dir, 'a target');
  configure({
    host: ['one.example.com', 'localhost'],
    'pre-setup': 'prepare.sh',
    port: 2222,
    env: { a_variable: "it's here" },
  });
  writeFileSync(
    path.join(work, 'prepare.sh'),
    `mkdir -p "${target}" && echo prepared >> "${target}/prepared"\n`,
  );
  publish('one');
  const failed = await run('production', 'setup');
  // The second finds the clone of the first.
  expect(failed.code).toBe(1);
  expect(failed.stderr).toContain('failed to clone');
  expect(readFileSync(path.join(target, 'prepared'), 'utf8')).toBe('prepared\nprepared\n');
  const { stdout } = await ok('production');
  expect(stdout).toContain('--> on host localhost');
  expect(readFileSync(path.join(target, 'done'), 'utf8')).toContain("it's here|one|");
  expect(deployed()).toBe('one');
  expect(readFileSync(path.join(pm.dir, 'ssh.log'), 'utf8')).toContain('-p 2222');
  const many = await run('production', 'revert', '9');
  expect(many.code).toBe(1);
  expect(many.stderr).toContain('there are not 10 deployments yet');
});

test.runIf(hasSshd)('deploy goes over a real ssh, with key, port and options', async () => {
  // The program on PATH is ssh itself.
  rmSync(path.join(pm.dir, 'bin/ssh'));
  const sshd = await Sshd.start(path.join(pm.dir, 'sshd'));
  try {
    configure({
      user: userInfo().username,
      host: '127.0.0.1',
      port: String(sshd.port),
      key: sshd.key,
      ssh_options: ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'LogLevel=ERROR'],
      'forward-agent': undefined,
    });
    publish('one');
    await ok('production', 'setup');
    await ok('production');
    expect(deployed()).toBe('one');
    expect(readFileSync(path.join(target, 'way'), 'utf8')).toMatch(
      new RegExp(`^127\\.0\\.0\\.1 \\d+ 127\\.0\\.0\\.1 ${sshd.port}\n$`),
    );
    publish('two');
    await ok('production', 'update');
    expect(deployed()).toBe('two');
    await ok('production', 'revert', '1');
    expect(deployed()).toBe('one');
    expect((await ok('production', 'exec', 'cat file')).stdout).toContain('one');
    // A key that the host does not know: no way in, and no success.
    configure({
      host: '127.0.0.1',
      port: String(sshd.port),
      key: path.join(pm.dir, 'sshd/host'),
      ssh_options: ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'BatchMode=yes'],
    });
    publish('three');
    const refused = await run('production', 'update');
    expect(refused.code).toBe(1);
    expect(deployed()).toBe('one');
  } finally {
    await sshd.end();
  }
});
