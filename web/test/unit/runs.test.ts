import { describe, expect, it } from 'vitest';
import { events } from '../../src/link/events';
import { moduleProblem } from '../../src/pages/module-name';
import { advance, type Leg, reasonOf } from '../../src/store/runs';

const leg: Leg = {
  key: 'k',
  label: 'box / 0',
  phase: 'waiting',
  said: '',
  cut: false,
  result: '',
  error: '',
  tookMs: 0,
};

describe('events of an action', () => {
  it('are read wherever the stream was cut', () => {
    const text =
      ': hello\n\ndata: {"state":"sent"}\n\ndata: {"state":"output","data":"a\\n\\nb"}\r\n\r\ndata: {"n":1}\n\n';
    for (let at = 0; at <= text.length; at++) {
      const split = events();
      const seen = [...split(text.slice(0, at)), ...split(text.slice(at))];
      expect(seen).toEqual([{ state: 'sent' }, { state: 'output', data: 'a\n\nb' }, { n: 1 }]);
    }
  });

  it('that make no sense are passed over', () => {
    expect(events()('data: {"a"\n\ndata: 3\n\ndata:\n\nevent: x\n\ndata: {"a":1}\n\n')).toEqual([{ a: 1 }]);
  });
});

describe('a leg of a run', () => {
  it('goes from sent over its output to its end', () => {
    let now = advance(leg, { state: 'sent' }, true);
    expect(now.phase).toBe('sent');
    now = advance(now, { state: 'output', data: 'half' }, true);
    now = advance(now, { state: 'output', data: { done: 1 } }, true);
    expect(now).toMatchObject({ phase: 'running', said: 'half\n{"done":1}\n' });
    now = advance(now, { state: 'ended', ok: true, result: { all: 2 }, took_ms: 30, lost: 0 }, true);
    expect(now).toMatchObject({ phase: 'ok', result: '{\n  "all": 2\n}', tookMs: 30, cut: false });
  });

  it('ends refused or late, with the reason', () => {
    expect(advance(leg, { state: 'ended', ok: false, error: 'no' }, false)).toMatchObject({
      phase: 'failed',
      error: 'no',
    });
    expect(advance(leg, { state: 'ended', ok: false, error: 'late', timed_out: true }, false).phase).toBe('timeout');
    expect(advance(leg, { state: 'ended', ok: false }, false).error).not.toBe('');
  });

  it('does not say twice what it said', () => {
    const failed = { ...leg, said: 'a\nno such branch\n', error: 'pull ended with exit code 1:\nno such branch' };
    expect(reasonOf(failed)).toBe('pull ended with exit code 1.');
    expect(reasonOf({ ...failed, said: '' })).toBe(failed.error);
  });

  it('keeps the end of what is too long, and says so', () => {
    const now = advance(leg, { state: 'output', data: `${'x'.repeat(250_000)}end` }, false);
    expect(now.cut).toBe(true);
    expect(now.said.length).toBeLessThanOrEqual(200_000);
    expect(now.said.endsWith('end')).toBe(true);
    expect(advance(leg, { state: 'ended', ok: true, lost: 3 }, false).cut).toBe(true);
  });
});

describe('names of modules', () => {
  it.each([
    'pm2-logrotate',
    'pm2-logrotate@3.0.0',
    '@scope/mod@^1',
    'owner/repo#main',
    'https://h/m.tgz',
    'git+ssh://git@h/m.git',
  ])('takes %s', (name) => expect(moduleProblem(name)).toBe(''));
  it.each([
    '',
    '-g',
    './x',
    '/etc',
    '~/x',
    'file:x',
    'mod.tgz',
    'a b',
    'https://u:p@h/m.tgz',
    'http://h/m.tgz',
    'owner/repo#-x',
  ])('refuses “%s”', (name) => expect(moduleProblem(name)).not.toBe(''));
});
