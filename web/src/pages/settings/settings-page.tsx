/** Settings of a bucket: its servers, the use of its plan, its keys, its members, and what was done in it. */
import './settings.css';
import type { JSX } from 'preact';
import { to } from '../../router';
import { bucketId, may } from '../../store/buckets';
import { Audit } from './audit';
import { General } from './general';
import { Members } from './members';
import { PlanUse } from './plan-use';
import { ServerBox } from './server-box';

const PAGES: Readonly<Record<string, () => JSX.Element | null>> = {
  plan: PlanUse,
  general: General,
  members: Members,
  audit: Audit,
};

const TABS = [
  ['servers', 'Servers'],
  ['plan', 'Plan'],
  ['general', 'General'],
  ['members', 'Members'],
  ['audit', 'Audit'],
] as const;

export function SettingsPage({ tab }: { readonly tab: string }) {
  const id = bucketId.value;
  const Page = PAGES[tab] ?? ServerBox;
  return (
    <div class="scroll settings">
      <nav class="tabs" aria-label="Settings">
        {TABS.filter(([key]) => key !== 'audit' || may('admin')).map(([key, text]) => (
          <a key={key} href={to.settings(id, key)} aria-current={tab === key ? 'page' : undefined}>
            {text}
          </a>
        ))}
      </nav>
      <Page key={id} />
    </div>
  );
}
