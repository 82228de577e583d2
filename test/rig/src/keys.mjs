// Prints every identity and address of the rig as JSON, private keys included.
import * as config from "./config.mjs";

const identities = {};
for (const who of config.WHO) {
  identities[who] = { evmAddress: config.evmAddress(who), evmPrivateKey: config.evmKey(who) };
}
const { CHAIN_ID, EVM_NETWORK, EVM_NETWORK_V1, USDC, PERMIT2, EXACT_PROXY, UPTO_PROXY } = config;
console.log(
  JSON.stringify(
    {
      chainId: CHAIN_ID,
      network: EVM_NETWORK,
      networkV1: EVM_NETWORK_V1,
      usdc: USDC,
      permit2: PERMIT2,
      exactProxy: EXACT_PROXY,
      uptoProxy: UPTO_PROXY,
      identities,
    },
    null,
    1,
  ),
);
