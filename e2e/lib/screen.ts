// What a person at the terminal would see: the bytes that a program drew, put through a terminal emulator.
import xterm from '@xterm/headless';
import type { Following } from './manager.ts';

/** The lines of the screen now, joined by newlines. */
export function drawnBy(program: Following, columns: number, rows: number): Promise<string> {
  const terminal = new xterm.Terminal({ cols: columns, rows, allowProposedApi: true });
  return new Promise((resolve) => {
    terminal.write(program.text(), () => {
      const buffer = terminal.buffer.active;
      const lines = Array.from(
        { length: rows },
        (_, row) => buffer.getLine(row)?.translateToString(true) ?? '',
      );
      terminal.dispose();
      resolve(lines.join('\n'));
    });
  });
}
