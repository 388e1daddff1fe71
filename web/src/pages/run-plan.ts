/** What an action asks before it runs, and for whom it is; the dialog that shows it comes when it is needed. */
import { signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import type { Order } from '../store/runs';

/** A field to be filled before the action runs. */
export interface Field {
  readonly label: string;
  readonly hint: string;
  readonly placeholder?: string;
  readonly value?: string;
  readonly long?: boolean;
  /** What is wrong with the text; '' when nothing is. */
  readonly check: (text: string) => string;
}

export interface Plan {
  readonly title: string;
  /** Said before it runs. */
  readonly body?: ComponentChildren;
  readonly field?: Field;
  readonly yes: string;
  readonly danger?: boolean;
  /** Whom it can be for; with several, one may be chosen. */
  readonly orders: (text: string) => readonly Order[];
  readonly choice?: { readonly all: string; readonly one: string };
}

export const plan = signal<Plan | null>(null);
