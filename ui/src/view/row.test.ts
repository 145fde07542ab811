import { describe, expect, test } from "vitest";
import type { ConnectionStrings, Entitlement, Gateway, TargetView } from "../backend/bindings";
import { matches, requestable, row, usableRole } from "./row";

const standing: Entitlement = { role: "read-only", databaseUser: "app_ro", secret: null, gate: { kind: "standing" } };
const onRequest: Entitlement = {
  role: "read-write",
  databaseUser: "app_rw",
  secret: null,
  gate: { kind: "on-request", runbook: "R", durations: ["1h"], approvers: "leads" },
};
const connection: ConnectionStrings = {
  host: "127.0.0.1", port: 1, user: "app_ro", database: "shop", socket: null, environment: [], texts: [],
};
const open: Gateway = { state: "open", role: "read-only", openedAt: "2026-01-01T12:00:00Z", connections: 0, done: [], connection };
const cause = { code: "c", message: "m", hint: "h" };

function view(change: Partial<TargetView> = {}): TargetView {
  return {
    target: {
      id: "orders-prod", engine: "postgres", endpoint: { host: "h", port: 5432 }, region: "eu-west-1", account: "111122223333",
      database: "shop", rdsIdentifier: "orders-prod", environment: "production", bastion: { instance: "i-1" }, document: "remote-host", localPort: null,
    },
    entitlements: [standing], request: null, grant: null, gateway: { state: "closed", cause: null }, bindingLimit: null, ...change,
  };
}

function asked(state: NonNullable<TargetView["request"]>["state"]): TargetView["request"] {
  return {
    id: "r", target: "orders-prod", role: "read-write", duration: "1h", justification: "j", ticket: null,
    requestedAt: "2026-01-01T12:00:00Z", state,
  };
}

describe("the one action of a row", () => {
  test("connects what needs no approval", () => {
    expect(row(view(), true)).toMatchObject({
      mark: "available",
      action: { kind: "send", primary: true, command: { command: "open-gateway", target: "orders-prod", role: "read-only" } },
    });
  });

  test("asks where somebody has to agree", () => {
    expect(row(view({ entitlements: [onRequest] }), true)).toMatchObject({ mark: "locked", action: { kind: "request" } });
  });

  test("is none while nobody is signed in", () => {
    expect(row(view(), false).action).toBeNull();
    expect(row(view({ entitlements: [onRequest] }), false).action).toBeNull();
  });

  test("takes back a request that waits", () => {
    const waiting = view({ entitlements: [onRequest], request: asked({ state: "pending", brokerRef: null, lapsesAt: null }) });
    expect(row(waiting, true)).toMatchObject({
      mark: "waiting", waitingSince: "2026-01-01T12:00:00Z", action: { command: { command: "cancel-request", request: "r" } },
    });
  });

  test("disconnects what is open or broken, and cancels what opens", () => {
    const close = { command: { command: "close-gateway", target: "orders-prod" } };
    expect(row(view({ gateway: open }), true)).toMatchObject({ mark: "connected", tone: "ready", action: close });
    const broken: Gateway = { state: "broken", role: "read-only", cause, connection };
    expect(row(view({ gateway: broken }), true)).toMatchObject({ mark: "broken", tone: "attention", action: close });
    const opening: Gateway = { state: "opening", role: "read-only", step: "open-tunnel", done: [] };
    expect(row(view({ gateway: opening }), true)).toMatchObject({ mark: "waiting", state: "Opening the tunnel", action: close });
  });

  test("is none while an approval is put in force", () => {
    const settingUp = view({ entitlements: [onRequest], grant: { state: "provisioning", role: "read-write" } });
    expect(row(settingUp, true)).toMatchObject({ mark: "waiting", action: null });
  });
});

describe("the state of a row", () => {
  test("says how the last request went", () => {
    const after = (state: NonNullable<TargetView["request"]>["state"]) =>
      row(view({ entitlements: [onRequest], request: asked(state) }), true).state;
    expect(after({ state: "denied", by: "eva", comment: null })).toBe("Denied");
    expect(after({ state: "expired" })).toBe("Nobody answered");
    expect(after({ state: "failed", cause })).toBe("Request failed");
    expect(after({ state: "cancelled" })).toBe("On request");
  });

  test("says how access ended", () => {
    const grant = { state: "ended", role: "read-write", at: "2026-01-01T12:00:00Z", reason: "expired" } as const;
    expect(row(view({ entitlements: [onRequest], grant }), true)).toMatchObject({ state: "Access ended", tone: "ended" });
  });

  test("says that the last attempt failed, and offers another", () => {
    const failed = row(view({ gateway: { state: "closed", cause } }), true);
    expect(failed).toMatchObject({ state: "Did not connect", tone: "ended", action: { primary: true } });
  });

  test("shows what ends first", () => {
    const bindingLimit = { kind: "grant", expiresAt: "2026-01-01T13:00:00Z" } as const;
    expect(row(view({ gateway: open, bindingLimit }), true).ends).toEqual({ at: bindingLimit.expiresAt, why: "grant ends" });
  });
});

test("the role that can be used is the granted one, else a standing one", () => {
  const grant = { state: "active", role: "read-write", expiresAt: "2026-01-01T13:00:00Z" } as const;
  expect(usableRole(view({ grant }))).toBe("read-write");
  expect(usableRole(view())).toBe("read-only");
  expect(usableRole(view({ entitlements: [onRequest] }))).toBeNull();
  expect(requestable(view({ entitlements: [standing, onRequest] })).map(({ role }) => role)).toEqual(["read-write"]);
});

test("a search finds by any of its words' places", () => {
  expect(matches(view(), "")).toBe(true);
  expect(matches(view(), "prod ORD")).toBe(true);
  expect(matches(view(), "eu-west-1 postgres")).toBe(true);
  expect(matches(view(), "ledger")).toBe(false);
});
