// A Target as one row of the window: what it is, how it stands, and the one action that moves it on.

import type { Command, Entitlement, RoleName, TargetView } from "../backend";
import { words } from "../words";

/** A shape; each has one meaning. */
export type Mark = "connected" | "available" | "locked" | "waiting" | "broken";
/** Which of the three state colours, if any. */
export type Tone = "ready" | "attention" | "ended" | "plain";

export type RowAction =
  | { kind: "send"; label: string; command: Command; primary: boolean }
  | { kind: "request"; label: string };

export interface Row {
  id: string;
  mark: Mark;
  tone: Tone;
  state: string;
  role: RoleName | null;
  /** What ends first; null when nothing is under way. */
  ends: { at: string; why: string } | null;
  /** What the wait began with, for a request that nobody answered yet. */
  waitingSince: string | null;
  action: RowAction | null;
}

/** One row. `signedIn` decides whether anything new can be begun. */
export function row(view: TargetView, signedIn: boolean): Row {
  const base = { id: view.target.id, role: null, ends: limit(view), waitingSince: null };
  return inGateway(view, base) ?? inBroker(view, base) ?? atRest(view, base, signedIn);
}

type Base = Pick<Row, "id" | "role" | "ends" | "waitingSince">;

function inGateway(view: TargetView, base: Base): Row | null {
  const { gateway } = view;
  const close: Command = { command: "close-gateway", target: view.target.id };
  switch (gateway.state) {
    case "closed":
      return null;
    case "closing":
      return { ...base, ends: null, mark: "waiting", tone: "plain", state: words.disconnecting, action: null };
    case "opening":
      return {
        ...base, role: gateway.role, mark: "waiting", tone: "attention", state: words.opening[gateway.step],
        action: { kind: "send", label: words.cancel, command: close, primary: false },
      };
    case "open":
      return {
        ...base, role: gateway.role, mark: "connected", tone: "ready", state: words.connected,
        action: { kind: "send", label: words.disconnect, command: close, primary: false },
      };
    case "broken":
      return {
        ...base, role: gateway.role, mark: "broken", tone: "attention", state: words.reconnecting,
        action: { kind: "send", label: words.disconnect, command: close, primary: false },
      };
  }
}

function inBroker(view: TargetView, base: Base): Row | null {
  const { grant, request } = view;
  if (grant?.state === "provisioning") {
    return { ...base, role: grant.role, mark: "waiting", tone: "attention", state: words.settingUp, action: null };
  }
  if (request?.state.state !== "pending") return null;
  const cancel: Command = { command: "cancel-request", request: request.id };
  return {
    ...base, role: request.role, waitingSince: request.requestedAt, mark: "waiting", tone: "attention", state: words.waiting,
    action: { kind: "send", label: words.cancel, command: cancel, primary: false },
  };
}

function atRest(view: TargetView, base: Base, signedIn: boolean): Row {
  const failed = view.gateway.state === "closed" && view.gateway.cause !== null;
  const role = usableRole(view);
  if (role !== null) {
    const command: Command = { command: "open-gateway", target: view.target.id, role };
    return {
      ...base, role, mark: "available", tone: failed ? "ended" : "plain", state: failed ? words.didNotOpen : words.available,
      action: signedIn ? { kind: "send", label: words.connect, command, primary: true } : null,
    };
  }
  const { state, tone } = outcome(view);
  return {
    ...base, ends: null, mark: "locked", tone, state,
    action: signedIn && requestable(view).length > 0 ? { kind: "request", label: words.request } : null,
  };
}

function outcome(view: TargetView): { state: string; tone: Tone } {
  const state = view.request?.state.state;
  if (state === "denied") return { state: words.denied, tone: "ended" };
  if (state === "expired") return { state: words.lapsed, tone: "ended" };
  if (state === "failed") return { state: words.requestFailed, tone: "ended" };
  if (view.grant?.state === "ended") return { state: words.ended[view.grant.reason], tone: "ended" };
  return { state: words.onRequest, tone: "plain" };
}

function limit(view: TargetView): Row["ends"] {
  const binding = view.bindingLimit;
  return binding === null ? null : { at: binding.expiresAt, why: words.limit[binding.kind] };
}

/** The Role that can be used right now: the granted one, else a standing one, read-only first. */
export function usableRole(view: TargetView): RoleName | null {
  if (view.grant?.state === "active") return view.grant.role;
  const standing = view.entitlements.filter((entitlement) => entitlement.gate.kind === "standing");
  return standing.find((entitlement) => entitlement.role === "read-only")?.role ?? standing[0]?.role ?? null;
}

/** What somebody has to agree to first. */
export function requestable(view: TargetView): OnRequest[] {
  return view.entitlements.flatMap((entitlement) =>
    entitlement.gate.kind === "on-request" ? [{ ...entitlement, gate: entitlement.gate }] : [],
  );
}

export type OnRequest = Omit<Entitlement, "gate"> & { gate: Extract<Entitlement["gate"], { kind: "on-request" }> };

/** Whether the database is what the person is looking for. */
export function matches(view: TargetView, search: string): boolean {
  const { id, engine, environment, database, region, account } = view.target;
  const text = [id, engine, environment, database, region, account].join(" ");
  return search.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}
