/** Dark, light, or as the system says; the choice is remembered in this browser. */
import { signal } from '@preact/signals';

export type ThemeChoice = 'auto' | 'dark' | 'light';

const KEY = 'pilothouse.theme';
const system = matchMedia('(prefers-color-scheme: light)');

function stored(): ThemeChoice {
  try {
    const v = localStorage.getItem(KEY);
    return v === 'dark' || v === 'light' ? v : 'auto';
  } catch {
    return 'auto';
  }
}

export const choice = signal<ThemeChoice>(stored());
/** What is on the screen now. Charts and canvases redraw when it changes. */
export const theme = signal<'dark' | 'light'>('dark');

function apply(): void {
  const root = document.documentElement;
  if (choice.value === 'auto') delete root.dataset.theme;
  else root.dataset.theme = choice.value;
  theme.value = choice.value === 'auto' ? (system.matches ? 'light' : 'dark') : choice.value;
}

export function choose(next: ThemeChoice): void {
  choice.value = next;
  try {
    if (next === 'auto') localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, next);
  } catch {
    // A browser without storage keeps the choice until the page is closed.
  }
  apply();
}

let probe: HTMLElement | null = null;

/** The computed value of a colour token, for canvases. */
export function colour(token: string): string {
  if (!probe) {
    probe = document.createElement('span');
    probe.hidden = true;
    document.body.append(probe);
  }
  probe.style.color = `var(${token})`;
  return getComputedStyle(probe).color;
}

system.addEventListener('change', apply);
apply();
