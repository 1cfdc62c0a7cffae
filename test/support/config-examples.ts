/** The two configuration files that `docs/reference/config.md` shows. */

export const callManagerExample = `name: cm-1
roles: [call-manager]
address: 10.77.0.11
directory: store
cluster:
  id: 1
  peers:
    - { id: 1, name: cm-1, address: 10.77.0.11 }
    - { id: 2, name: cm-2, address: 10.77.0.12 }
    - { id: 3, name: cm-3, address: 10.77.0.13 }
  vip: { interface: eth0, addresses: [10.77.0.100, "fd77::100"] }
  secretFile: secrets/cluster
  certificates:
    authority: tls/authority.pem
    certificate: tls/certificate.pem
    key: tls/key.pem
store:
  passwordFile: secrets/store
sip:
  domain: pbx.example.com
  listen:
    - udp/10.77.0.100:5060
    - tcp/10.77.0.100:5060
    - "udp/[fd77::100]:5060"
    - "tcp/[fd77::100]:5060"
    - tls/10.77.0.100:5061
    - wss/10.77.0.100:7443
  tls:
    certificate: tls/sip.pem
    key: tls/sip-key.pem
  drachtioSecretFile: secrets/drachtio
api:
  certificate: tls/certificate.pem
  key: tls/key.pem
  adminFile: secrets/admin
`;

export const mediaExample = `name: media-1
roles: [media]
address: 10.77.0.21
directory: state
cluster:
  peers:
    - { id: 1, name: cm-1, address: 10.77.0.11 }
    - { id: 2, name: cm-2, address: 10.77.0.12 }
    - { id: 3, name: cm-3, address: 10.77.0.13 }
  secretFile: secrets/cluster
  certificates:
    authority: tls/authority.pem
    certificate: tls/certificate.pem
    key: tls/key.pem
store:
  passwordFile: secrets/store
media:
  interfaces:
    - { local: 10.77.0.21 }
    - { local: "fd77::21" }
  ngListen: 10.77.0.21:2223
  ports: 20000-59999
`;
