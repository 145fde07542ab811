// The real agent, through the desktop shell.

import type { Backend } from ".";
import { commands, events, type Command, type ConnectionForm, type ErrorView, type Snapshot } from "./bindings";
import { Refused } from "./refused";

type Outcome<T> = { status: "ok"; data: T } | { status: "error"; error: ErrorView };

export class TauriBackend implements Backend {
  async onSnapshot(listener: (snapshot: Snapshot) => void): Promise<void> {
    await events.snapshotChanged.listen(({ payload }) => listener(payload));
    listener(await commands.snapshot());
  }

  async onShowTarget(listener: (target: string) => void): Promise<void> {
    await events.targetShown.listen(({ payload }) => listener(payload));
    const asked = await commands.askedTarget();
    if (asked !== null) listener(asked);
  }

  async send(command: Command): Promise<void> {
    settled(await commands.sendCommand(command));
  }

  async copyConnection(target: string, form: ConnectionForm): Promise<void> {
    settled(await commands.copyConnection(target, form));
  }

  async copyPassword(target: string): Promise<void> {
    settled(await commands.copyPassword(target));
  }

  async copy(text: string): Promise<void> {
    settled(await commands.copyText(text));
  }

  async openSignInPage(): Promise<void> {
    settled(await commands.openSignInPage());
  }
}

function settled<T>(outcome: Outcome<T>): T {
  if (outcome.status === "error") throw new Refused(outcome.error);
  return outcome.data;
}
