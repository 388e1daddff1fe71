// Completion as it is typed, in the shells themselves: each is started on a terminal with the start file that `completion
// install` wrote, and the key is pressed.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Manager } from '../lib/manager.ts';
import { drawnBy } from '../lib/screen.ts';
import { apps, underTest } from '../lib/under-test.ts';
import { until } from '../lib/until.ts';

const [columns, rows] = [90, 20];
const shells = [
  { shell: 'bash', words: ['--norc', '-i'], start: '.bashrc' },
  { shell: 'zsh', words: ['-i'], start: '.zshrc' },
  { shell: 'fish', words: ['-i'], start: '.config/fish/completions/pm2.fish' },
].map((each) => ({ ...each, program: `/usr/bin/${each.shell}` }));

let pm: Manager;
beforeAll(async () => {
  pm = new Manager();
  for (const name of ['two words', 'mod:app'])
    await pm.ok('start', path.join(apps, 'prints.js'), '--name', name, '--namespace', 'shells');
});
afterAll(() => pm.dispose());

const environment = (program: string) => {
  const home = path.join(pm.dir, `home-${path.basename(program)}`);
  mkdirSync(home, { recursive: true });
  return {
    HOME: home,
    SHELL: program,
    TERM: 'xterm',
    PATH: `${path.dirname(pm.program.path)}:/usr/bin:/bin`,
    PS1: '$ ',
    HISTFILE: '',
  };
};

describe.runIf(underTest === 'ours')('completion', () => {
  for (const { shell, program, words, start } of shells) {
    test.runIf(existsSync(program))(`in ${shell}: verbs, options, names with blanks and colons`, async () => {
      const env = environment(program);
      const file = path.join(env.HOME, start);
      if (shell !== 'fish') writeFileSync(file, 'export MINE=1\n');
      for (let time = 0; time < 2; time += 1) await pm.with(pm.program, ['completion', 'install'], { env });
      const typed = shell === 'bash' ? ['--rcfile', file, '-i'] : words;
      for (const [line, completed] of [
        ['pm2 resur', /pm2 resurrect/],
        ['pm2 logs --hi', /pm2 logs --highlight/],
        ['pm2 stop tw', /pm2 stop two\\ words/],
        ['pm2 stop two\\ w', /pm2 stop two\\ words/],
        ['pm2 stop mod:', /pm2 stop mod\\?:app/],
        ['pm2 module:gen', /pm2 module\\?:generate/],
      ] as const) {
        const terminal = pm.otherOnTerminal(columns, rows, { env }, program, ...typed);
        // Its prompt is there: it reads.
        const screen = () => drawnBy(terminal, columns, rows);
        await until(`${shell} asks`, async () => /[$>#%] *$/.test((await screen()).trimEnd()), {
          within: 20_000,
        });
        terminal.type(`${line}\t`);
        await until(`${line} is completed in ${shell}`, async () => completed.test(await screen())).catch(
          async (error) => {
            throw new Error(`${error}\n${await screen()}`);
          },
        );
        terminal.end();
        await terminal.ended;
      }
      await pm.with(pm.program, ['completion', 'uninstall'], { env });
      expect(readFileSync(file, 'utf8')).toBe(shell === 'fish' ? '\n' : 'export MINE=1\n');
    });
  }

  test('completion takes the place of what PM2 had installed', async () => {
    const env = environment('/bin/bash');
    const file = path.join(env.HOME, '.bashrc');
    writeFileSync(
      file,
      'export MINE=1\n\n###-begin-pm2-completion-###\ntheirs\n###-end-pm2-completion-###\n',
    );
    await pm.with(pm.program, ['completion', 'install'], { env });
    const text = readFileSync(file, 'utf8');
    expect(text).not.toContain('theirs');
    expect(text.match(/###-begin-pm2-completion-###/g)).toHaveLength(1);
  });
});
