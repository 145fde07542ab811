// What the window asks of the agent. Only this folder knows who answers.

import type { Command, ConnectionForm, Snapshot } from "./bindings";
import { DemoBackend } from "./demo";
import { TauriBackend } from "./tauri";

export type * from "./bindings";
export { Refused } from "./refused";

export interface Backend {
  /** Calls back with what is true, now and after each change. */
  onSnapshot(listener: (snapshot: Snapshot) => void): Promise<void>;
  /** Calls back when the tray or a notification asks to see one database. */
  onShowTarget(listener: (target: string) => void): Promise<void>;
  /** Has a command carried out. Rejects with `Refused`. */
  send(command: Command): Promise<void>;
  /** Puts a way to connect on the clipboard, with the local password in it, which never comes here. */
  copyConnection(target: string, form: ConnectionForm): Promise<void>;
  /** Puts the local password on the clipboard; it never comes here. */
  copyPassword(target: string): Promise<void>;
  /** Puts words on the clipboard. */
  copy(text: string): Promise<void>;
  /** Opens the identity provider's page again while a sign-in is under way. */
  openSignInPage(): Promise<void>;
}

export function backend(): Backend {
  return "__TAURI_INTERNALS__" in window ? new TauriBackend() : new DemoBackend();
}
