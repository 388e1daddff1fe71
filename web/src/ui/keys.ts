/** Keys that work everywhere. Pages have their own beside the thing they act on. */
import { signal } from '@preact/signals';

export const helpOpen = signal(false);

export const KEYS: readonly (readonly [keys: string, what: string])[] = [
  ['/', 'Go to the filter of the page'],
  ['?', 'Show this help'],
  ['g then s', 'Servers overview'],
  ['g then l', 'Logs'],
  ['g then e', 'Settings'],
  ['c', 'Connect a server'],
  ['t', 'Switch between dark and light'],
  ['↑ ↓', 'Move through the rows of a table'],
  ['→ ←', 'Open and close a row'],
  ['Enter', 'Open the app of the row'],
  ['Esc', 'Close a dialog, leave a filter'],
];

export interface KeyTargets {
  readonly go: (where: 'servers' | 'logs' | 'settings') => void;
  readonly connect: () => void;
  readonly toggleTheme: () => void;
}

const typing = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

export function listenKeys(targets: KeyTargets): () => void {
  let leader = 0;
  const onKey = (e: KeyboardEvent) => {
    if (e.ctrlKey || e.metaKey || e.altKey || typing(e.target) || document.querySelector('dialog[open]')) return;
    const led = e.timeStamp - leader < 1200;
    leader = 0;
    if (led && (e.key === 's' || e.key === 'l' || e.key === 'e')) {
      targets.go(e.key === 's' ? 'servers' : e.key === 'l' ? 'logs' : 'settings');
    } else if (e.key === 'g') {
      leader = e.timeStamp;
    } else if (e.key === '/') {
      document.querySelector<HTMLInputElement>('[data-filter="yes"]')?.focus();
    } else if (e.key === '?') {
      helpOpen.value = true;
    } else if (e.key === 'c') {
      targets.connect();
    } else if (e.key === 't') {
      targets.toggleTheme();
    } else {
      return;
    }
    e.preventDefault();
  };
  addEventListener('keydown', onKey);
  return () => removeEventListener('keydown', onKey);
}
