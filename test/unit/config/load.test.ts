import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { ConfigError, loadConfig, parseConfig } from '../../../src/config/load.ts';
import { callManagerExample, mediaExample } from '../../support/config-examples.ts';

function problemsOf(text: string) {
  try {
    parseConfig(text, 'node.yaml');
  } catch (error) {
    if (error instanceof ConfigError) {
      return error.problems;
    }
    throw error;
  }
  return [];
}

describe('a configuration file', () => {
  const made: string[] = [];
  afterEach(() => {
    for (const directory of made.splice(0)) {
      rmSync(directory, { recursive: true });
    }
  });

  it('is completed with defaults', () => {
    const config = parseConfig(callManagerExample, 'node.yaml');
    expect(config.store.raftPort).toBe(7001);
    expect(config.metrics.listen).toBe('[::]:9464');
    expect(config.log.level).toBe('info');
    expect(config.sip?.trace).toEqual({ enabled: true, memoryMb: 32 });
    expect(config.sip?.hep).toBeUndefined();
    expect(parseConfig(mediaExample, 'node.yaml').media?.ports).toEqual({
      from: 20_000,
      to: 59_999,
    });
  });

  it('has its file names resolved against its own directory', () => {
    const directory = mkdtempSync(join(tmpdir(), 'raftpbx-config-'));
    made.push(directory);
    const file = join(directory, 'node.yaml');
    const collector = '  hep: { address: homer.test:9060, passwordFile: secrets/hep }\n';
    writeFileSync(file, callManagerExample.replace('api:\n', `${collector}api:\n`));
    const config = loadConfig(file);
    expect(config.sip?.hep?.passwordFile).toBe(join(directory, 'secrets/hep'));
    expect(config.cluster.secretFile).toBe(join(directory, 'secrets/cluster'));
    expect(config.sip?.tls?.key).toBe(join(directory, 'tls/sip-key.pem'));
    expect(config.api?.adminFile).toBe(join(directory, 'secrets/admin'));
    writeFileSync(file, `${mediaExample}  codecs: [codecs/g729.so, /usr/lib/amr.so]\n`);
    const codecs = [join(directory, 'codecs/g729.so'), '/usr/lib/amr.so'];
    expect(loadConfig(file).media?.codecs).toEqual(codecs);
  });

  it.each(['homer.test:9060', '10.77.0.40:9060', '"[fd77::40]:9060"'])(
    'may name a collector at %s',
    (address) => {
      const text = callManagerExample.replace('api:\n', `  hep: { address: ${address} }\napi:\n`);
      expect(parseConfig(text, 'node.yaml').sip?.hep?.id).toBe(1);
    },
  );

  it.each(['homer.test', '"homer test:9060"', '"fd77::40:9060"', 'homer.test:99999'])(
    'may not name a collector at %s',
    (address) => {
      const text = callManagerExample.replace('api:\n', `  hep: { address: ${address} }\napi:\n`);
      expect(problemsOf(text)).toHaveLength(1);
    },
  );

  it.each(['10.77.0.31:9000', '"[fd77::31]:9000"', '/run/asr.sock'])(
    'may forward sound to %s',
    (consumer) => {
      const text = `${mediaExample}  forwardTo: ${consumer}\n  forwardRateHz: 16000\n`;
      const { media } = parseConfig(text, 'node.yaml');
      expect(media?.forwardTo).toBe(consumer.replaceAll('"', ''));
      expect(media?.forwardRateHz).toBe(16_000);
    },
  );

  it.each(['asr.sock', 'asr.test:9000', `/${'x'.repeat(107)}`])(
    'may not forward sound to %s',
    (consumer) => {
      expect(problemsOf(`${mediaExample}  forwardTo: ${consumer}\n`)).toEqual([
        expect.objectContaining({ message: expect.stringContaining('is neither ADDRESS:PORT') }),
      ]);
    },
  );

  it('forwards sound at rates that there are', () => {
    expect(problemsOf(`${mediaExample}  forwardRateHz: 11025\n`)).toEqual([
      expect.objectContaining({
        message: "'media.forwardRateHz' must be one of: 8000, 16000, 48000",
        fix: expect.stringContaining('16000'),
      }),
    ]);
    expect(parseConfig(mediaExample, 'node.yaml').media?.forwardRateHz).toBe(8_000);
  });

  it('with a listener over TLS needs a certificate for it', () => {
    const text = callManagerExample.replace(/ {2}tls:\n( {4}.*\n){2}/, '');
    expect(problemsOf(text)).toContainEqual(
      expect.objectContaining({
        message: expect.stringContaining("needs a certificate, the section 'tls' of 'sip'"),
      }),
    );
  });

  it('may name an engine elsewhere, which then has the listeners', () => {
    const elsewhere = callManagerExample
      .replace(/ {2}listen:\n( {4}- .*\n)*/, '  engine: drachtio://sip.test:9022\n')
      .replace(/ {2}tls:\n( {4}.*\n){2}/, '  engineAuthority: tls/engine.pem\n');
    expect(parseConfig(elsewhere, 'node.yaml').sip).toMatchObject({
      ...{ engine: 'drachtio://sip.test:9022', listen: [] },
    });
    for (const [from, to, said] of [
      ['drachtio://sip.test:9022', 'http://sip.test', 'is not embedded or drachtio://'],
      ['drachtio://sip.test:9022', 'drachtio://sip.test', 'is not embedded or drachtio://'],
      ['drachtio://sip.test:9022', 'embedded', 'needs at least one listener'],
      ['sip:\n', 'sip:\n  listen: [udp/10.77.0.100:5060]\n', 'for the embedded engine only'],
    ] as const) {
      const [problem] = problemsOf(elsewhere.replace(from, to));
      expect(problem?.message).toContain(said);
    }
  });

  it('with applications over TLS needs a certificate for them', () => {
    const without = callManagerExample.replace(/ {2}tls:\n( {4}.*\n){2}/, '');
    const handler = "{ url: 'tls://app.example:9024' }";
    const section = `  applications: { tlsListen: '10.77.0.1:9024', requestHandlers: [${handler}] }\n`;
    const messages = problemsOf(without.replace(/^sip:\n/m, `sip:\n${section}`));
    expect(messages).toContainEqual(
      expect.objectContaining({ message: expect.stringContaining('tlsListen') }),
    );
    expect(messages).toContainEqual(
      expect.objectContaining({ message: expect.stringContaining('needs authorities') }),
    );
    expect(problemsOf(callManagerExample.replace(/^sip:\n/m, `sip:\n${section}`))).toEqual([]);
  });

  it('with an unknown key is refused with the key that was meant, at its place', () => {
    const text = callManagerExample.replace('passwordFile', 'paswordFile');
    const line = text.split('\n').findIndex((one) => one.includes('pasword')) + 1;
    const problems = problemsOf(text);
    expect(problems).toContainEqual({
      line,
      column: 3,
      message: "'store.paswordFile' is not a known key",
      fix: "did you mean 'passwordFile'?",
    });
    expect(problems).toContainEqual(
      expect.objectContaining({
        message: "'store.passwordFile' is missing",
        fix: "add 'passwordFile: secrets/store'",
      }),
    );
  });

  it('with a key that has another name now is told the name', () => {
    const text = callManagerExample.replace(/^sip:\n/m, 'sip:\n  trusted: [192.0.2.0/24]\n');
    expect(problemsOf(text)).toEqual([
      expect.objectContaining({
        message: "'sip.trusted' is not a known key",
        fix: "it is called 'neverBanned' now: rename it",
      }),
    ]);
    expect(problemsOf(text.replace('  trusted:', '  neverBanned:'))).toEqual([]);
  });

  it('serves applications with a certificate of their own without one for phones', () => {
    const own = 'tls: { certificate: own.pem, key: own-key.pem }';
    const section = `  applications: { tlsListen: "10.77.0.11:9024", ${own} }\n`;
    expect(problemsOf(callManagerExample.replace(/^sip:\n/m, `sip:\n${section}`))).toEqual([]);
  });

  it('with several mistakes is told them all, in the order of the file', () => {
    const text = mediaExample
      .replace('name: media-1', 'name: Media 1')
      .replace('roles: [media]', 'roles: [medea]')
      .replace('20000-59999', '59999-20000');
    const problems = problemsOf(text);
    expect(problems.map((one) => one.message)).toEqual([
      "'name' may have only lower-case letters, digits and hyphens, 31 at most",
      "'roles.0' must be one of: call-manager, media",
      "'media.ports' is not a range FROM-TO of at least four ports within 1024-65535",
    ]);
    expect(problems.map((one) => one.line)).toEqual([...problems.map((one) => one.line)].sort());
    expect(problems.every((one) => one.fix.length > 0)).toBe(true);
  });

  it('of a Call Manager without SIP, without its own number or with a stranger is refused', () => {
    expect(problemsOf(mediaExample.replace('[media]', '[media, call-manager]'))).toHaveLength(3);
    const stranger = callManagerExample.replace('  id: 1\n', '  id: 7\n');
    expect(problemsOf(stranger)[0]?.message).toBe("'cluster.id' is not the id of any peer");
  });

  it('that is not YAML, or is empty, or is not there says so', () => {
    expect(problemsOf('name: [a\nroles: }')[0]?.message).toMatch(/is not YAML/);
    expect(problemsOf('')[0]?.message).toBe("'name' is missing");
    expect(() => loadConfig('does-not-exist.yaml')).toThrow(/does-not-exist.yaml:1:1: cannot be/);
  });
});
