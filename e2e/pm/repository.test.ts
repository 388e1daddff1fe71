// What PM2 knows of an app's sources: its repository, and the files that its JavaScript was made from.
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { onlyOurs } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

let pm: Manager;
afterEach(() => pm.dispose());

describe('git', () => {
  let repo: string;
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', repo, '-c', 'user.name=n', '-c', 'user.email=a@b', ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  const commit = (message: string) => {
    appendFileSync(path.join(repo, 'app.js'), `// ${message}\n`);
    git('add', '.');
    git('commit', '-qm', message);
    return git('rev-parse', 'HEAD');
  };
  const versioning = () =>
    until('the repository is known', async () => (await pm.app('app')).pm2_env.versioning);
  const isAt = (revision: string) =>
    until(`the app is at ${revision}`, async () => (await versioning()).revision === revision);
  let first: string;
  let second: string;

  beforeEach(() => {
    pm = new Manager(undefined, { PM2_ENABLE_GIT_PARSING: 'true' });
    repo = path.join(pm.dir, 'repo');
    const origin = path.join(pm.dir, 'origin');
    mkdirSync(repo);
    execFileSync('git', ['init', '-q', '--bare', origin]);
    git('init', '-q', '-b', 'main');
    git('remote', 'add', 'origin', origin);
    writeFileSync(path.join(repo, 'app.js'), 'setInterval(() => {}, 1000);\n');
    first = commit('first');
    second = commit('second');
    git('push', '-q', 'origin', 'HEAD');
  });

  test('the list and describe tell revision, branch and remote', async () => {
    git('tag', 'v1');
    await pm.ok('start', path.join(repo, 'app.js'));
    expect(await versioning()).toMatchObject({
      type: 'git',
      url: path.join(pm.dir, 'origin'),
      revision: second,
      comment: 'second\n',
      unstaged: false,
      branch: 'main',
      remotes: ['origin'],
      remote: 'origin',
      branch_exists_on_remote: true,
      ahead: false,
      next_rev: null,
      prev_rev: first,
      tags: ['v1'],
      repo_path: repo,
    });
    const { stdout } = await pm.ok('describe', 'app');
    expect(stdout).toContain('Revision control metadata');
    expect(stdout).toMatch(new RegExp(`revision\\s+│ ${second}`));
    await pm.ok('start', path.join(repo, 'app.js'), '--name', 'other', '--no-vizion');
    expect((await pm.app('other')).pm2_env.versioning).toBeUndefined();
  });

  test('backward, forward and pull change the revision and reload', async () => {
    await pm.ok('start', path.join(repo, 'app.js'));
    await isAt(second);
    expect((await pm.ok('backward', 'app')).stdout).toContain(`Current commit ${first}`);
    await isAt(first);
    expect(git('rev-parse', 'HEAD')).toBe(first);
    expect((await pm.app('app')).pm2_env.restart_time).toBe(1);
    expect((await pm.run('backward', 'app')).code).toBe(1);
    expect((await pm.ok('forward', 'app')).stdout).toContain(`Current commit ${second}`);
    await isAt(second);
    expect((await pm.ok('forward', 'app')).stdout).toContain('Already up-to-date');
    expect((await pm.ok('pull', 'app')).stdout).toContain('Already up-to-date');

    const clone = path.join(pm.dir, 'clone');
    execFileSync('git', ['clone', '-q', '-b', 'main', path.join(pm.dir, 'origin'), clone]);
    const here = repo;
    repo = clone;
    const third = commit('third');
    git('push', '-q', 'origin', 'HEAD');
    repo = here;
    expect((await pm.ok('pull', 'app')).stdout).toContain(`Current commit ${third}`);
    await isAt(third);
    expect((await pm.ok('pull', 'app', first)).stdout).toContain(`Current commit ${first}`);
    await isAt(first);
    expect((await pm.run('pull', 'nosuch')).code).toBe(1);
  });

  onlyOurs('what is not committed is not thrown away', async () => {
    await pm.ok('start', path.join(repo, 'app.js'));
    await isAt(second);
    appendFileSync(path.join(repo, 'app.js'), '// work\n');
    const { code, stderr } = await pm.run('backward', 'app');
    expect(code).toBe(1);
    expect(stderr).toContain('has changes that are not committed');
    expect(readFileSync(path.join(repo, 'app.js'), 'utf8')).toContain('// work');
    expect((await pm.app('app')).pm2_env.restart_time).toBe(0);
  });

  onlyOurs('post_update runs before the reload; if it fails, there is none', async () => {
    const start = async (commands: string[]) => {
      const file = path.join(pm.dir, 'eco.json');
      const app = { name: 'app', script: path.join(repo, 'app.js'), post_update: commands };
      writeFileSync(file, JSON.stringify({ apps: [app] }));
      await pm.ok('start', file);
    };
    await start(['echo done > updated']);
    await isAt(second);
    await pm.ok('backward', 'app');
    expect(existsSync(path.join(repo, 'updated'))).toBe(true);
    await isAt(first);
    await start(['exit 3']);
    const { restart_time } = (await pm.app('app')).pm2_env;
    const { code, stderr } = await pm.run('forward', 'app');
    expect(code).toBe(1);
    expect(stderr).toContain('exit 3');
    expect((await pm.app('app')).pm2_env.restart_time).toBe(restart_time);
  });
});

describe('source maps', () => {
  // Line 1 of made.js was line 3 of written.ts.
  const map = {
    version: 3,
    file: 'made.js',
    sources: ['written.ts'],
    sourcesContent: ['// one\n// two\nthrow new Error("mapped");\n'],
    names: [],
    mappings: 'AAEA',
  };
  const start = async (...args: string[]) => {
    pm = new Manager();
    const script = path.join(pm.dir, 'made.js');
    writeFileSync(script, 'throw new Error("mapped");\n//# sourceMappingURL=made.js.map\n');
    writeFileSync(`${script}.map`, JSON.stringify(map));
    await pm.run('start', script, '--no-autorestart', ...args);
    return until('the stack was logged', () => {
      const log = pm.file('logs/made-error.log');
      return log.includes('    at ') && log;
    });
  };

  test('stacks tell the lines that were written', async () => {
    expect(await start()).toContain('written.ts:3');
  });

  test('unless that is switched off', async () => {
    const log = await start('--disable-source-map-support');
    expect(log).toContain('made.js:1');
    expect(log).not.toContain('written.ts');
  });
});
