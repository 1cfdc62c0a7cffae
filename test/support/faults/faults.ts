/**
 * Everything that is done to a cluster under test. A fault is done, held for a while and undone;
 * it answers with evidence that it happened, a number that is more than zero.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { writeFails } from './control.ts';
import type { Dice } from './dice.ts';
import type { Drop, FaultNetwork } from './network.ts';
import type { FaultNode } from './node.ts';

export interface Scene {
  dice: Dice;
  nodes: readonly FaultNode[];
  network: FaultNetwork;
  /** The node that says it leads, or any when none says so. */
  leader(): Promise<FaultNode>;
}

export type Fault = (scene: Scene) => Promise<number>;

const millisecond = 1e6;
const hour = 3600 * 1000 * millisecond;

/** All faults by name. */
export const faults: Record<string, Fault> = {
  'kill the leader': async (scene) => killAndStart(scene, [await scene.leader()]),
  'kill a node': (scene) => killAndStart(scene, [scene.dice.pick(scene.nodes)]),
  'kill all nodes': (scene) => killAndStart(scene, scene.nodes),
  'power cut of one node': async (scene) => cutAndStart(scene, [await scene.leader()]),
  'power cut of all nodes': (scene) => cutAndStart(scene, scene.nodes),
  'kill of all nodes, then a power cut': async (scene) => {
    await leaveUnflushed(scene, scene.nodes);
    await Promise.all(scene.nodes.map((node) => node.start()));
    await delay(scene.dice.between(0, 1000));
    return cutAndStart(scene, scene.nodes);
  },
  'stop the leader in order': async (scene) => {
    const leader = await scene.leader();
    await leader.stop();
    await delay(scene.dice.between(0, 1000));
    await leader.start();
    return 1;
  },
  'hand leadership over': handOver,
  'pause the leader': async (scene) => pause([await scene.leader()], scene.dice.between(300, 2500)),
  'pause a majority': (scene) =>
    pause(majority(scene.dice.shuffle(scene.nodes)), scene.dice.between(300, 1500)),
  'pause the leader again and again': pauseAgain,
  'suspend the leader': suspend,
  'partition the leader': async (scene) => {
    const leader = await scene.leader();
    return partition(
      scene,
      others(scene, leader).flatMap((one) => between(leader, one, 100)),
    );
  },
  'partition the leader from one node': async (scene) => {
    const leader = await scene.leader();
    return partition(scene, between(leader, scene.dice.pick(others(scene, leader)), 100));
  },
  'the leader hears nobody': async (scene) => {
    const leader = await scene.leader();
    return partition(
      scene,
      others(scene, leader).map((one) => drop(leader, one, 100)),
    );
  },
  'nobody hears the leader': async (scene) => {
    const leader = await scene.leader();
    return partition(
      scene,
      others(scene, leader).map((one) => drop(one, leader, 100)),
    );
  },
  'lose packets': (scene) => {
    const pairs = scene.nodes.flatMap((one) => others(scene, one).map((from) => [one, from]));
    const drops = pairs.map((pair) => drop(pair[0] as FaultNode, pair[1] as FaultNode, 25));
    return partition(scene, drops);
  },
  'slow the leader down': slowLink,
  'jump of the wall clock': jump,
  'slow flush': slowFlush,
  'failing flush': (scene) => failDisk(scene, (node) => node.control.set('flushFails', 1)),
  'failing write': (scene) =>
    failDisk(scene, (node) => node.control.set('writeFails', writeFails.allEio)),
  'disk full': (scene) =>
    failDisk(scene, (node) => node.control.set('writeFails', writeFails.allNoSpace)),
};

/** What may be there beside another fault. */
export const companions = ['jump of the wall clock', 'slow flush', 'pause the leader'] as const;

async function killAndStart({ dice }: Scene, nodes: readonly FaultNode[]): Promise<number> {
  await Promise.all(nodes.map((node) => node.kill()));
  await delay(dice.between(0, 1500));
  await Promise.all(nodes.map((node) => node.start()));
  return nodes.length;
}

/** Flushes are slowed down before, so that the end comes while something is not flushed. */
async function leaveUnflushed({ dice }: Scene, nodes: readonly FaultNode[]): Promise<void> {
  for (const node of nodes) {
    node.control.set('flushDelayUs', dice.between(2000, 20_000));
  }
  await delay(dice.between(200, 700));
  await Promise.all(nodes.map((node) => node.kill()));
  for (const node of nodes) {
    node.control.set('flushDelayUs', 0);
  }
}

async function cutAndStart(scene: Scene, nodes: readonly FaultNode[]): Promise<number> {
  const { dice } = scene;
  await leaveUnflushed(scene, nodes);
  const survival = dice.pick(['none', 'some'] as const);
  const cuts = nodes.map((node) => node.cutPower(dice, survival));
  await delay(dice.between(0, 500));
  await Promise.all(nodes.map((node) => node.start()));
  return cuts.reduce((sum, cut) => sum + cut.unflushedLog, 0);
}

async function pause(nodes: readonly FaultNode[], ms: number): Promise<number> {
  for (const node of nodes) {
    node.pause();
  }
  await delay(ms);
  for (const node of nodes) {
    node.resume();
  }
  return nodes.length;
}

/** Around the length of a lease, where a check and its use fall apart. */
async function pauseAgain(scene: Scene): Promise<number> {
  const rounds = scene.dice.between(4, 8);
  for (let i = 0; i < rounds; i += 1) {
    await pause([await scene.leader()], scene.dice.between(100, 700));
    await delay(scene.dice.between(10, 200));
  }
  return rounds;
}

/** Counts how often another node says afterwards that it leads. */
async function handOver(scene: Scene): Promise<number> {
  let handed = 0;
  for (let i = 0; i < 5; i += 1) {
    const before = await scene.leader();
    before.handOver();
    await delay(scene.dice.between(50, 400));
    handed += (await scene.leader()) === before ? 0 : 1;
  }
  return handed;
}

async function suspend(scene: Scene): Promise<number> {
  const leader = await scene.leader();
  const before = leader.control.get('monotonicReadsShifted');
  await leader.suspend(scene.dice.between(300, 3000));
  await delay(500);
  return leader.control.get('monotonicReadsShifted') - before;
}

async function partition({ dice, network }: Scene, drops: readonly Drop[]): Promise<number> {
  network.drop(drops);
  await delay(dice.between(800, 3000));
  const dropped = network.dropped();
  network.drop([]);
  return dropped;
}

async function slowLink(scene: Scene): Promise<number> {
  const leader = await scene.leader();
  const kilobits = scene.dice.pick([64, 128, 256]);
  scene.network.slow(leader.id, kilobits);
  await delay(scene.dice.between(1000, 2500));
  const held = scene.network.heldBack(leader.id);
  scene.network.slow(leader.id, null);
  return held;
}

async function jump(scene: Scene): Promise<number> {
  const shifted = () => sum(scene.nodes, (node) => node.control.get('wallReadsShifted'));
  const before = shifted();
  for (let i = 0; i < 3; i += 1) {
    const node = i === 0 ? await scene.leader() : scene.dice.pick(scene.nodes);
    const by = scene.dice.pick([hour, -hour, 30 * 24 * hour, 400 * millisecond]);
    node.control.set('wallOffsetNs', by);
    await delay(scene.dice.between(200, 700));
  }
  for (const node of scene.nodes) {
    node.control.set('wallOffsetNs', 0);
  }
  return shifted() - before;
}

async function slowFlush(scene: Scene): Promise<number> {
  const slow = scene.dice.pick([[await scene.leader()], scene.nodes]);
  const delayed = () => sum(slow, (node) => node.control.get('flushesDelayed'));
  const before = delayed();
  for (const node of slow) {
    node.control.set('flushDelayUs', scene.dice.pick([20_000, 100_000, 600_000]));
  }
  await delay(scene.dice.between(1000, 2500));
  for (const node of slow) {
    node.control.set('flushDelayUs', 0);
  }
  return delayed() - before;
}

/** The leader's disk fails until it has noticed; then the disk is exchanged and it starts again. */
async function failDisk(scene: Scene, fail: (node: FaultNode) => void): Promise<number> {
  const node = await scene.leader();
  const failures = () => node.control.get('flushesFailed') + node.control.get('writesFailed');
  const before = failures();
  fail(node);
  await delay(scene.dice.between(1000, 2500));
  await node.kill();
  node.control.set('flushFails', 0);
  node.control.set('writeFails', writeFails.none);
  if (scene.dice.below(2) === 0) {
    node.cutPower(scene.dice, scene.dice.pick(['none', 'some']));
  }
  await node.start();
  return failures() - before;
}

function majority(nodes: readonly FaultNode[]): readonly FaultNode[] {
  return nodes.slice(0, Math.floor(nodes.length / 2) + 1);
}

function others({ nodes }: Scene, than: FaultNode): FaultNode[] {
  return nodes.filter((node) => node !== than);
}

function drop(at: FaultNode, from: FaultNode, percent: number): Drop {
  return { at: at.id, from: from.id, percent };
}

function between(a: FaultNode, b: FaultNode, percent: number): Drop[] {
  return [drop(a, b, percent), drop(b, a, percent)];
}

function sum(nodes: readonly FaultNode[], of: (node: FaultNode) => number): number {
  return nodes.reduce((total, node) => total + of(node), 0);
}
