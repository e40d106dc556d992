from gapless_cli.main import main

main()
